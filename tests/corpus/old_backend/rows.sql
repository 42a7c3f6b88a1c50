-- Everybody's password is 123456. Bob has an old device, Carol none; 40 is the guest of a device, which Bob's row names as well.
INSERT INTO user (id, uuid, username, password, nickname, avatar, devicefingeruuid, userset, role, mobile, create_time, update_time) VALUES
    (10, '00000000-0000-4000-8000-000000000010', 'Alice', '8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92', '爱丽丝', NULL, '',
        '{"chatset":{"visitor":{"sendCount":2},"user":{"sendCount":2}}}', 'user', '13800000000', '2025-07-13 11:46:05', '2025-07-13 11:46:05'),
    (20, '00000000-0000-4000-8000-000000000020', 'bob_20', '8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92', '', '/public/bob.png', '',
        '', 'user', NULL, '2025-07-14 00:00:00', '2025-07-14 00:00:00'),
    (30, '00000000-0000-4000-8000-000000000030', '卡罗尔小姐', '8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92', '', NULL, '',
        '', 'user', NULL, '2025-07-15 00:00:00', '2025-07-15 00:00:00'),
    (40, '00000000-0000-4000-8000-000000000040', 'VIS8d1a344c', '8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92', '', NULL,
        '8d1a344c-bf16-5425-adbc-d12f49cfa332', '', 'visitor', NULL, '2025-07-16 00:00:00', '2025-07-16 00:00:00'),
    (50, '00000000-0000-4000-8000-000000000050', 'shared', '8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92', '', NULL,
        '8d1a344c-bf16-5425-adbc-d12f49cfa332', '', 'user', NULL, '2025-07-16 00:00:00', '2025-07-16 00:00:00');
INSERT INTO user_info (id, user_id, gender, birthday, bio) VALUES
    (3, 10, 'female', '1990-01-02 08:00:00', 'hello'), (4, 20, 'unknown', NULL, NULL), (5, 10, 'male', NULL, 'a second row'), (6, 999, 'male', NULL, NULL);
-- Alice and Bob; Alice has blocked Carol; a second row for a pair, one of somebody who is gone, one of nobody.
INSERT INTO goodfriend (id, user_id, friend_id, nickname, ismystarfriend, isblack) VALUES
    (100, 10, 20, '小鲍', 1, 0), (101, 20, 10, '', 0, 0), (102, 10, 30, '', 0, 1), (103, 10, 20, 'again', 0, 1), (104, 10, 999, '', 0, 0),
    (105, NULL, 10, '', 0, 0);
-- Carol has asked Bob twice, and Alice once, who refused.
INSERT INTO goodfriendapply (id, user_id, friend_id, nickname, status) VALUES
    (200, 30, 20, 'first', 'pending'), (201, 30, 20, 'second', 'pending'), (202, 30, 10, '', 'refuse'), (203, 10, 20, '', 'agree');
-- Alice's group with Bob, in which Carol waits; one that was disabled; one whose owner is gone.
INSERT INTO `group` (id, uuid, user_id, name, avatar, remark, invite_confirm, status) VALUES
    (7, '00000000-0000-4000-8000-000000000007', 10, '测试群', '/a.png,/b.png', '公告', 1, 1),
    (8, '00000000-0000-4000-8000-000000000008', 20, 'disabled', NULL, NULL, 0, 0),
    (9, '00000000-0000-4000-8000-000000000009', 999, 'orphan', NULL, NULL, 0, 1);
INSERT INTO group_user (id, group_id, user_id, nickname, status) VALUES
    (70, 7, 10, '', 1), (71, 7, 20, '鲍勃', 1), (72, 7, 30, NULL, 2), (73, 7, 20, 'again', 0), (74, 8, 20, '', 1), (75, 9, 10, '', 1), (76, 7, 999, '', 1);
