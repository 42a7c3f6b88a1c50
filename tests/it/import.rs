//! `qingniao import`: what the old backend's database holds is there afterwards, for the same clients, on both engines.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sqlx::{Connection, Executor, MySqlConnection};

use crate::support::{
    Door, Ended, Person, Process, Socket, command, database, eventually_blocking, have_program, letter, mysql_url, run,
    text_of,
};

const SCHEMA: &str = include_str!("../corpus/old_backend/schema.sql");
const ROWS: &str = include_str!("../corpus/old_backend/rows.sql");
/// The guest's device in those rows.
const DEVICE: &str = "8d1a344c-bf16-5425-adbc-d12f49cfa332";

/// The old backend's database with `rows` in its tables; `None`, said loudly, if there is no MySQL to make it in.
async fn old(name: &str, rows: &'static str) -> Option<String> {
    mysql_url().await?;
    let url = database::empty(&format!("qingniao_old_{name}_")).await?;
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    for text in [SCHEMA, rows] {
        sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
    }
    Some(url)
}

/// The two stores that an import can be made into: SQLite in `folder`, and MySQL.
async fn targets(name: &str) -> [String; 2] {
    [String::new(), database::empty(&format!("qingniao_new_{name}_")).await.unwrap()]
}

fn import(folder: &Path, old: &str, target: &str) -> Command {
    let mut command = command(folder);
    command.env("OLD_DATABASE_URL", old).env("DATABASE_URL", target).arg("import");
    command
}

fn done(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("the import is complete"), "{}", ended.err);
}

async fn login(door: &Door, username: &str) -> Person {
    let account = door.post("/api/loginChat", json!({ "username": username, "password": "123456" })).await.ok();
    door.person(username, account, "")
}

#[tokio::test]
async fn people_friends_and_groups_go_on_where_they_were() {
    let Some(old) = old("all", ROWS).await else { return };
    for target in targets("all").await {
        let folder = tempfile::tempdir().unwrap();
        let ended = run(&mut import(folder.path(), &old, &target));
        done(&ended);
        for line in [
            "users: 5 of 5",
            "profiles: 2 of 4",
            "friends: 3 of 6",
            "friend applications: 3 of 4",
            "groups: 2 of 3",
            "group members: 4 of 7",
        ] {
            assert!(ended.err.contains(line), "{line} is not in\n{}", ended.err);
        }
        let process = Process::start(command(folder.path()).env("DATABASE_URL", &target));
        let door = Door::to(process.address);
        let (alice, bob) = (login(&door, "alice").await, login(&door, "bob_20").await);
        accounts(&door, &alice).await;
        friendships(&alice, &bob).await;
        group(&door, &alice, &bob).await;
        guests(&door).await;
    }
}

async fn accounts(door: &Door, alice: &Person) {
    assert_eq!((alice.id, alice.username.as_str()), (10, "Alice"));
    let account = &alice.account;
    assert_eq!(account["avatar"], "https://docs-51yrc-com.oss-cn-hangzhou.aliyuncs.com/chat/user.jpg");
    assert_eq!(account["mobile"], "13800000000");
    assert_eq!(account["create_time"], "2025-07-13 11:46:05");
    let info = alice.get("/api/userinfo/00000000-0000-4000-8000-000000000010").await.ok();
    assert_eq!((&info["userinfo"]["gender"], &info["userinfo"]["bio"]), (&json!("female"), &json!("hello")));
    assert_eq!(info["userinfo"]["birthday"], "1990-01-02T00:00:00.000Z");
    let found = alice.post("searchUser", json!({ "keyword": "罗" })).await.ok();
    assert_eq!(found.as_array().unwrap().iter().map(|user| &user["id"]).collect::<Vec<_>>(), [30]);
    // A new account gets an id that nobody had.
    assert!(door.user("dave").await.id > 50);
}

async fn friendships(alice: &Person, bob: &Person) {
    let list = alice.get("goodfriendlist/1").await.ok();
    let friend = &list["rows"]["newList"][1]["list"][0];
    assert_eq!(
        (&friend["id"], &friend["beizhu"], &friend["friend_id"]),
        (&json!(100), &json!("小鲍"), &json!(20)),
        "{list}"
    );
    // Nobody is a stranger to the other; Alice has blocked Carol.
    for (from, to) in [(alice, bob), (bob, alice), (alice, bob)] {
        from.say(to, "又见面了").await.ok();
    }
    let carol = login(&bob.door, "卡罗尔小姐").await;
    carol.say(alice, "你好").await.refused(400, "对方把你拉黑了，不能发送消息");
    let applications = bob.get("listapplyfriend/1").await.ok();
    let asked = &applications["alldata"][1];
    assert_eq!((&applications["pendingCount"], &asked["nickname"]), (&json!(1), &json!("first")), "{applications}");
}

async fn group(door: &Door, alice: &Person, bob: &Person) {
    let groups = bob.get("grouplist/1?limit=10").await.ok();
    assert_eq!(groups.as_array().map(Vec::len), Some(1), "{groups}");
    let info = alice.get("groupinfo/7").await.ok();
    assert_eq!(
        (&info["name"], &info["remark"], &info["invite_confirm"]),
        (&json!("测试群"), &json!("公告"), &json!(1))
    );
    assert_eq!(info["group_users"].as_array().map(Vec::len), Some(2), "{info}");
    let mut of_bob = bob.asking_socket().await;
    alice.say_in(7, "大家好").await.ok();
    hears(&mut of_bob, "大家好").await;
    // Whoever waits hears what is said once the owner has agreed, and nothing before.
    let carol = login(door, "卡罗尔小姐").await;
    alice.post("groupAgreeOrNo", json!({ "group_id": 7, "user_id": carol.id, "type": "agree" })).await.ok();
    let mut of_carol = carol.asking_socket().await;
    alice.say_in(7, "欢迎").await.ok();
    assert!(!hears(&mut of_carol, "欢迎").await.contains(&"大家好".to_owned()));
}

/// Waits for a text. Returns those that came before it.
async fn hears(socket: &mut Socket, text: &str) -> Vec<String> {
    let mut before = Vec::new();
    loop {
        let message = socket.next_message().await;
        if message["type"] == "text" {
            match text_of(&message) {
                heard if heard == text => return before,
                other => before.push(other),
            }
        }
    }
}

async fn guests(door: &Door) {
    // The old backend gave guests passwords, and told nobody.
    let credentials = json!({ "username": "VIS8d1a344c", "password": "123456" });
    door.post("/api/loginChat", credentials).await.refused(400, "账户或密码错误");
    let guest = door.guest_on(DEVICE).await;
    assert_eq!((guest.id, guest.username.as_str()), (40, "VIS8d1a344c"));
}

/// A Redis of a test's own; killed when dropped.
struct Redis {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Redis {
    /// `None`, said loudly, if there is no program for it.
    fn start() -> Option<Self> {
        if !have_program("redis-server") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket).current_dir(folder.path());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let url = format!("redis+unix://{}?db=3", socket.display());
        let client = redis::Client::open(&*url).unwrap();
        eventually_blocking("Redis answers", || client.get_connection().is_ok());
        Some(Self { child, url, _folder: folder })
    }

    /// Puts something at the end of somebody's list, as the old backend does.
    fn push(&self, person: i64, item: &str) {
        let mut connection = redis::Client::open(&*self.url).unwrap().get_connection().unwrap();
        let mut push = redis::cmd("RPUSH");
        push.arg(format!("chat_getmessage_{person}")).arg(item).query::<i64>(&mut connection).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn old_id(number: i64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

#[tokio::test]
async fn what_waits_in_redis_is_delivered_once_and_in_its_order() {
    let (Some(old), Some(redis)) = (old("redis", ROWS).await, Redis::start()) else { return };
    // Three pages, of which the old backend has put everything into each.
    let group = json!({
        "create_time": "2025-07-13 11:46:05", "id": 7, "uuid": "00000000-0000-4000-8000-000000000007", "user_id": 10, "name": "测试群",
        "avatar": "/a.png,/b.png", "remark": "公告", "invite_confirm": 1, "status": 1, "order": 50, "update_time": "2025-07-13T03:46:05.000Z",
    });
    let mut whole_group = group.clone();
    whole_group["group_users"] = json!([{ "id": 70 }, { "id": 71 }]);
    for number in 0..250 {
        let message = json!({
            "id": old_id(number), "from_avatar": "", "from_name": "Alice", "from_id": 10, "to_id": 7, "to_name": "测试群",
            "to_avatar": "/a.png,/b.png", "chatType": "group", "type": "text", "data": letter("group", 7, &number.to_string())["data"],
            "options": null, "create_time": 1_752_378_365_000_i64 + number, "isremove": 0, "sendUUid": "u", "group": whole_group,
        });
        redis.push(20, &message.to_string());
    }
    redis.push(20, "not JSON");
    redis.push(999, "{}");
    for target in targets("redis").await {
        let folder = tempfile::tempdir().unwrap();
        let ended = run(import(folder.path(), &old, &target).env("OLD_REDIS_URL", &redis.url));
        done(&ended);
        for line in [
            "messages that wait: 250 for 1 people",
            "left out were 1 that are no JSON objects, and those for 1 people who are not there",
        ] {
            assert!(ended.err.contains(line), "{line} is not in\n{}", ended.err);
        }
        let process = Process::start(command(folder.path()).env("DATABASE_URL", &target));
        let door = Door::to(process.address);
        let (alice, bob) = (login(&door, "alice").await, login(&door, "bob_20").await);
        let mut socket = bob.asking_socket().await;
        for (number, message) in (0..).zip(&socket.next_messages(250).await) {
            assert_eq!((&message["id"], text_of(message)), (&json!(old_id(number)), number.to_string()));
            assert_eq!(message["group"], group, "without its members (decision 7)");
        }
        alice.say(&bob, "新的").await.ok();
        assert_eq!(socket.next_text().await, "新的");
        socket.close().await;
        let mut again = bob.asking_socket().await;
        again.expect_silence().await;
    }
}

#[tokio::test]
async fn a_redis_that_cannot_be_reached_is_named_and_nothing_is_made() {
    let Some(old) = old("unreached", ROWS).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let ended = run(import(folder.path(), &old, "").args(["--redis", "redis://:hunter2@127.0.0.1:1/0"]));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("the old backend's Redis (--redis, OLD_REDIS_URL): "), "{}", ended.err);
    assert!(!ended.err.contains("hunter2"), "{}", ended.err);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_has_many_pages_comes_whole_and_old_ids_do_not_come_again() {
    let Some(old) = old("pages", "SET FOREIGN_KEY_CHECKS = 0").await else { return };
    let mut connection = MySqlConnection::connect(&old).await.unwrap();
    // The sum of two of them is 1,256 rows: three pages. The newest users and groups are gone.
    let numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 628), p (i) AS (SELECT i FROM n UNION ALL \
                   SELECT i + 628 FROM n)";
    // Subscriptions are opened in steps of 10,000 ids: the members of groups 501 and 502 are the last of one and the first of the next.
    connection.execute("ALTER TABLE group_user AUTO_INCREMENT = 9500").await.unwrap();
    for (insert, select) in [
        (
            "INSERT INTO user (uuid, username, password, userset, role, create_time)",
            "SELECT UUID(), CONCAT('person_', i), '8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92', '', \
             IF(i = 1256, 'bureau', 'user'), IF(i = 3, 0, '2025-07-13 11:46:05') FROM p ORDER BY i",
        ),
        ("INSERT INTO goodfriend (user_id, friend_id)", "SELECT 1256, i FROM p ORDER BY i"),
        ("INSERT INTO `group` (uuid, user_id, name)", "SELECT UUID(), i, CONCAT('group ', i) FROM p ORDER BY i"),
        ("INSERT INTO group_user (group_id, user_id)", "SELECT i, 1256 FROM p ORDER BY i"),
    ] {
        let statement = format!("{insert} {numbers} {select}");
        connection.execute("SET SESSION sql_mode = ''").await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }
    for statement in ["ALTER TABLE user AUTO_INCREMENT = 5001", "ALTER TABLE `group` AUTO_INCREMENT = 7001"] {
        connection.execute(statement).await.unwrap();
    }
    for target in targets("pages").await {
        let folder = tempfile::tempdir().unwrap();
        let ended = run(&mut import(folder.path(), &old, &target));
        done(&ended);
        for table in ["users", "friends", "groups", "group members"] {
            assert!(ended.err.contains(&format!("{table}: 1256 of 1256, done")), "{table}:\n{}", ended.err);
        }
        let process = Process::start(command(folder.path()).env("DATABASE_URL", &target));
        let door = Door::to(process.address);
        let last = login(&door, "person_1256").await;
        assert_eq!((last.id, &last.account["role"]), (1256, &json!("user")));
        assert_eq!(last.get("goodfriendlist/1?limit=10000").await.ok()["count"], 1256);
        assert_eq!(last.get("grouplist/1?limit=2000").await.ok().as_array().map(Vec::len), Some(1256));
        for group in [501, 502] {
            last.say_in(group, "大家好").await.ok();
        }
        let new = door.user("dave").await;
        assert_eq!(new.id, 5001, "the ids up to 5000 were somebody's");
        new.post("autoAddFriendAndAgree", json!({ "friend_id": 1 })).await.ok();
        let friend = new.get("goodfriendlist/1").await.ok()["rows"]["newList"][0]["list"][0]["id"].clone();
        new.post("group/create", json!({ "userIds": [friend] })).await.ok();
        assert_eq!(new.get("grouplist/1").await.ok()[0]["id"], 7001);
    }
}

/// MariaDB ends sessions that say nothing within a transaction for three seconds, if they are those of the server.
#[tokio::test]
async fn the_new_database_waits_while_the_old_one_takes_its_time() {
    let rows = "INSERT INTO user (uuid, username, password, userset) VALUES ('a', 'alice', 'x', ''), ('b', 'bobby', 'x', ''); \
                INSERT INTO goodfriend (user_id, friend_id) VALUES (1, 2); RENAME TABLE goodfriend TO friend_rows; \
                CREATE VIEW goodfriend AS SELECT * FROM friend_rows WHERE SLEEP(4) = 0";
    let Some(old) = old("slow", rows).await else { return };
    let [_, target] = targets("slow").await;
    let folder = tempfile::tempdir().unwrap();
    let ended = tokio::task::spawn_blocking(move || run(&mut import(folder.path(), &old, &target))).await.unwrap();
    done(&ended);
}

#[tokio::test]
async fn prepared_answers_come_from_their_files() {
    let Some(old) = old("answers", ROWS).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("askAnswer");
    std::fs::create_dir(&files).unwrap();
    let entry = |user: i64, ask: &str, at: i64| json!({ "id": at, "ask": ask, "answer": "十元", "type": "shop", "create_userId": user, "create_time": at, "update_time": at, "likeCount": 2, "liked": true });
    let entries = json!([entry(10, "多少钱", 1_752_378_365_000), entry(999, "谁", 1)]);
    std::fs::write(files.join("chatuser_shop_10.json"), entries.to_string()).unwrap();
    let ended = run(import(folder.path(), &old, "").arg("--answers").arg(&files));
    done(&ended);
    assert!(ended.err.contains("answers: 1 of 2") && ended.err.contains("left out"), "{}", ended.err);
    let process = Process::start(&mut command(folder.path()));
    let alice = login(&Door::to(process.address), "alice").await;
    let list: Value = alice.post("askanswer/list", json!({ "type": "shop" })).await.json();
    let first = &list["data"][0];
    assert_eq!(
        (&first["ask"], &first["answer"], &first["likeCount"], &first["liked"]),
        (&json!("多少钱"), &json!("十元"), &json!(2), &json!(true)),
        "{list}"
    );
}

#[tokio::test]
async fn an_import_that_fails_leaves_the_new_database_empty() {
    let clash = "INSERT INTO user (id, uuid, username, password, userset) VALUES \
                 (1, 'a', 'alice', 'x', ''), (2, 'b', 'bob', 'x', ''), (3, 'c', 'ALICE', 'x', '')";
    let Some(old) = old("clash", "ALTER TABLE user MODIFY username VARCHAR(50) COLLATE utf8mb4_bin NOT NULL").await
    else {
        return;
    };
    let mut connection = MySqlConnection::connect(&old).await.unwrap();
    connection.execute(clash).await.unwrap();
    for target in targets("clash").await {
        let folder = tempfile::tempdir().unwrap();
        let ended = run(&mut import(folder.path(), &old, &target));
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        assert!(ended.err.contains("one name here: 1 and 3; give one of each pair another name"), "{}", ended.err);
        // Mended, it can be tried again: nobody is there yet.
        connection.execute("UPDATE user SET username = 'alice3' WHERE id = 3").await.unwrap();
        done(&run(&mut import(folder.path(), &old, &target)));
        let ended = run(&mut import(folder.path(), &old, &target));
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        assert!(ended.err.contains("the database has people already"), "{}", ended.err);
        connection.execute("UPDATE user SET username = 'ALICE' WHERE id = 3").await.unwrap();
    }
}

#[tokio::test]
async fn a_database_that_is_not_the_old_backends_is_refused_with_its_place() {
    let Some(old) = old("other", "DROP TABLE user").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let ended = run(&mut import(folder.path(), &old, ""));
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("users: ") && ended.err.contains(".user' doesn't exist"), "{}", ended.err);
}

#[test]
fn an_old_database_that_cannot_be_reached_is_named_without_its_password() {
    for (url, words) in [
        ("mysql://u:hunter2@127.0.0.1:1/old", "at 127.0.0.1:1: "),
        ("mysql://u:hunter2@127.0.0.1/old?tls=1", "its URL has no parameter `tls`"),
        ("mysql://u:hunter2@127.0.0.1", "its URL must end with the name of a database"),
        ("sqlite:hunter2.db", "its URL must start with mysql://"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ended = run(&mut import(folder.path(), url, ""));
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        let name = "the old backend's database (--from, OLD_DATABASE_URL)";
        assert!(ended.err.contains(name) && ended.err.contains(words), "{}", ended.err);
        assert!(!ended.err.contains("hunter2"), "{}", ended.err);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
    }
    let ended = run(command(tempfile::tempdir().unwrap().path()).env_remove("OLD_DATABASE_URL").arg("import"));
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("--from <URL>"), "{}", ended.err);
}
