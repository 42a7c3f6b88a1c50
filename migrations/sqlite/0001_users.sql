-- Registered users and visitors. Names compare through username_key (lower case), so that the unique index serves login.
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL,
    username TEXT NOT NULL,
    username_key TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    nickname TEXT NOT NULL DEFAULT '',
    avatar TEXT NOT NULL,
    device_id TEXT NULL,
    uniplatform TEXT NOT NULL DEFAULT '',
    devicemodel TEXT NOT NULL DEFAULT '',
    deviceos TEXT NOT NULL DEFAULT '',
    devicebrand TEXT NOT NULL DEFAULT '',
    userset TEXT NOT NULL,
    invite_confirm INTEGER NOT NULL DEFAULT 0,
    mobile TEXT NULL,
    email TEXT NULL,
    status INTEGER NOT NULL DEFAULT 1,
    last_login_at INTEGER NULL,
    last_login_ip TEXT NULL,
    register_ip TEXT NULL,
    is_deleted INTEGER NOT NULL DEFAULT 0,
    wechat_openid TEXT NULL,
    qq_openid TEXT NULL,
    weibo_uid TEXT NULL,
    role TEXT NOT NULL DEFAULT 'user',
    is_email_verified INTEGER NOT NULL DEFAULT 0,
    is_mobile_verified INTEGER NOT NULL DEFAULT 0,
    sort_order INTEGER NOT NULL DEFAULT 50,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX users_uuid ON users (uuid);
CREATE UNIQUE INDEX users_username_key ON users (username_key);
CREATE UNIQUE INDEX users_device_id ON users (device_id);
