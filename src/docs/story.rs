//! The folder of the Postman collection that runs as a story, in which each reply is checked: two people register, become
//! friends, chat, make a group, take a message back and upload a file.

use serde_json::{Map, Value, json};

use super::postman::{self, Call, add, raw, request};
use super::sections;
use crate::http::describe::Route;

/// The folder's name, by which it can be run alone.
pub const NAME: &str = "故事 story";
/// What it is.
pub const ABOUT: &str = "Run the whole folder, in order: each step checks its reply and keeps what later steps need.";

/// What every success is.
const OK: &str = "\
const reply = pm.response.json();
const got = reply.data;
const keep = (name, value) => pm.collectionVariables.set(name, value);
const kept = name => pm.collectionVariables.get(name);
pm.test('is a success', () => { pm.response.to.have.status(200); pm.expect(reply.msg).to.equal('ok'); });";
/// What every refusal is.
const REFUSED: &str = "\
const reply = pm.response.json();
pm.test('is refused', () => { pm.response.to.have.status(400); pm.expect(reply.msg).to.equal('fail'); });";

/// One call of the story.
struct Step {
    name: &'static str,
    /// Method and path, as in the router.
    route: &'static str,
    /// Whose token, or nobody's.
    by: Option<&'static str>,
    path: Value,
    body: Value,
    check: String,
}

impl Step {
    fn new(name: &'static str, route: &'static str) -> Self {
        Self { name, route, by: None, path: json!({}), body: Value::Null, check: OK.to_owned() }
    }

    fn by(self, token: &'static str) -> Self {
        Self { by: Some(token), ..self }
    }

    fn path(self, name: &str, value: &str) -> Self {
        Self { path: json!({ name: value }), ..self }
    }

    fn json(self, fields: &Value) -> Self {
        Self { body: raw(fields), ..self }
    }

    /// A success of which `test` is true.
    fn expect(self, what: &str, test: &str) -> Self {
        let check = format!("{}\npm.test({}, () => pm.expect({test}).to.be.true);", self.check, json!(what));
        Self { check, ..self }
    }

    /// Keeps a value under a name.
    fn keep(self, name: &str, value: &str) -> Self {
        Self { check: format!("{}\nkeep('{name}', {value});", self.check), ..self }
    }

    /// A refusal with this text.
    fn refused(self, text: &str) -> Self {
        let check = format!("{REFUSED}\npm.test('says why', () => pm.expect(reply.data).to.equal({}));", json!(text));
        Self { check, ..self }
    }

    fn item(self, routes: &[Route]) -> Value {
        let known = |route: &&Route| format!("{} {}", super::examples::method(route), route.path) == self.route;
        let route = routes.iter().find(known).expect("the story calls routes that are there");
        let (path, query) = (self.path.as_object().cloned().unwrap_or_default(), Map::new());
        let call = Call { name: self.name, path: &path, query: &query, body: self.body, token: self.by };
        let mut item = request(route, &call);
        add(&mut item, "test", &self.check);
        item
    }
}

/// The folder's items.
pub fn steps() -> Vec<Value> {
    let routes: Vec<Route> = sections().into_iter().flat_map(|section| section.routes).collect();
    let steps = coming().into_iter().chain(friendship()).chain(chat()).chain(group()).chain(file()).chain(going());
    steps.map(|step| step.item(&routes)).collect()
}

const ALICE: &str = "{{aliceToken}}";
const BOB: &str = "{{bobToken}}";

fn coming() -> Vec<Step> {
    let signed = json!({ "deviceId": "{{deviceId}}", "timestamp": "{{timestamp}}" });
    let mut account = signed.clone();
    account["username"] = "{{alice}}".into();
    account["password"] = "secret01".into();
    vec![
        Step::new("游客进入 (a guest arrives)", "POST /api/visitorRegister")
            .json(&signed)
            .expect("is a guest", "got.role === 'visitor' && got.token.length > 0")
            .keep("guestId", "got.id")
            .keep("alice", "'alice_' + pm.variables.replaceIn('{{$randomInt}}') + Date.now() % 1000000")
            .keep("bob", "'bob_' + pm.variables.replaceIn('{{$randomInt}}') + Date.now() % 1000000"),
        Step::new("小爱注册 (alice registers on that device)", "POST /api/visitorregChat")
            .json(&account)
            .expect("keeps the guest's id", "got.id === kept('guestId') && got.role === 'user'")
            .keep("aliceToken", "got.token")
            .keep("aliceId", "got.id")
            .keep("aliceUuid", "got.uuid"),
        Step::new("小波注册 (bob registers)", "POST /api/regChat")
            .json(&json!({ "username": "{{bob}}", "password": "secret01" }))
            .expect("is a user", "got.role === 'user' && got.username === kept('bob')")
            .keep("bobToken", "got.token")
            .keep("bobId", "got.id")
            .keep("bobUuid", "got.uuid"),
    ]
}

fn friendship() -> Vec<Step> {
    vec![
        Step::new("搜索小波 (alice searches for bob)", "POST /api/chat/searchUser")
            .by(ALICE)
            .json(&json!({ "keyword": "{{bob}}" }))
            .expect("finds bob", "got.length === 1 && got[0].id === kept('bobId')"),
        Step::new("申请加好友 (alice asks bob)", "POST /api/chat/applyfriend")
            .by(ALICE)
            .json(&json!({ "friend_id": "{{bobId}}", "nickname": "我是小爱" })),
        Step::new("重复申请被拒 (asking twice is refused)", "POST /api/chat/applyfriend")
            .by(ALICE)
            .json(&json!({ "friend_id": "{{bobId}}" }))
            .refused("您已经申请过了，请勿重复申请"),
        Step::new("查看申请 (bob sees it)", "POST /api/chat/isApplyfriend/{uuid}")
            .by(BOB)
            .path("uuid", "{{aliceUuid}}")
            .expect("is alice's", "got.user_id === kept('aliceId') && got.status === 'pending'")
            .keep("applicationId", "got.id"),
        Step::new("同意申请 (bob agrees)", "POST /api/chat/handleapply/{id}")
            .by(BOB)
            .path("id", "{{applicationId}}")
            .json(&json!({ "status": "agree", "nickname": "小爱" })),
        Step::new("好友列表 (alice's friends)", "GET /api/chat/goodfriendlist/{page}")
            .by(ALICE)
            .path("page", "1")
            .expect("has bob", "got.count === 1 && got.rows.newList[0].list[0].friend_id === kept('bobId')")
            .keep("friendRow", "got.rows.newList[0].list[0].id"),
    ]
}

fn chat() -> Vec<Step> {
    let content = json!({ "data": "你好", "dataType": false, "otherData": null }).to_string();
    let message = json!({
        "sendto_id": "{{bobId}}", "chatType": "single", "type": "text", "data": content, "options": "",
    });
    let revoked = json!({
        "id": "{{messageId}}", "to_id": "{{bobId}}", "to_name": "{{bob}}", "to_avatar": "{{bobAvatar}}",
        "chatType": "single", "create_time": "{{messageTime}}",
    });
    vec![
        Step::new("发消息 (alice writes to bob)", "POST /api/chat/socket/sendmessage")
            .by(ALICE)
            .json(&message)
            .expect("is to bob", "got.to_id === kept('bobId') && JSON.parse(got.data).data === '你好'")
            .keep("messageId", "got.id")
            .keep("messageTime", "got.create_time")
            .keep("bobAvatar", "got.to_avatar"),
        Step::new("取离线消息 (bob asks for what is pending)", "POST /api/chat/chatGetmessageOffLine")
            .by(BOB)
            .json(&json!({})),
        Step::new("小波不能撤回 (bob may not take it back)", "POST /api/chat/revokeMessage")
            .by(BOB)
            .json(&revoked)
            .refused("消息不存在或无权撤回"),
        Step::new("撤回消息 (alice takes it back)", "POST /api/chat/revokeMessage")
            .by(ALICE)
            .json(&revoked)
            .expect("is that message", "got.id === kept('messageId') && got.actionType === 'revoke'"),
    ]
}

fn group() -> Vec<Step> {
    vec![
        Step::new("创建群 (alice makes a group)", "POST /api/chat/group/create")
            .by(ALICE)
            .json(&json!({ "userIds": ["{{friendRow}}"] })),
        Step::new("群列表 (her groups)", "GET /api/chat/grouplist/{page}")
            .by(ALICE)
            .path("page", "1")
            .expect("is hers", "got.length === 1 && got[0].user_id === kept('aliceId')")
            .keep("groupId", "got[0].id"),
        Step::new("修改群名称 (she names it)", "POST /api/chat/groupUpdateName")
            .by(ALICE)
            .json(&json!({ "id": "{{groupId}}", "name": "周末爬山" })),
        Step::new("小波不能改名 (bob may not)", "POST /api/chat/groupUpdateName")
            .by(BOB)
            .json(&json!({ "id": "{{groupId}}", "name": "不行" }))
            .refused("只有群主才能修改群名称"),
        Step::new("群消息 (bob writes to the group)", "POST /api/chat/socket/sendmessage")
            .by(BOB)
            .json(&json!({
                "sendto_id": "{{groupId}}", "chatType": "group", "type": "text", "options": "",
                "data": json!({ "data": "几点集合？", "dataType": false, "otherData": null }).to_string(),
            }))
            .expect("is to the group", "got.to_id === kept('groupId') && got.group.name === '周末爬山'"),
        Step::new("群资料 (its members)", "GET /api/chat/groupinfo/{id}")
            .by(BOB)
            .path("id", "{{groupId}}")
            .expect("has both", "got.name === '周末爬山' && got.group_users.length === 2"),
    ]
}

fn file() -> Vec<Step> {
    let mut upload = Step::new("上传文件 (alice uploads)", "POST /api/chat/uploadStreamSingleToServerDiy/{diydir}")
        .by(ALICE)
        .path("diydir", "story")
        .expect("is kept", "/^\\/public\\/uploads\\/Diy\\/story\\/.*\\.txt$/.test(got.url)")
        .keep("file", "got.url.replace('/public/', '')");
    upload.body = postman::file("file");
    let mut read = Step::new("读取文件 (anybody reads it)", "GET /public/{*path}").path("path", "{{file}}");
    "pm.test('is the file', () => { pm.response.to.have.status(200); pm.expect(pm.response.text()).to.equal('hello'); });"
        .clone_into(&mut read.check);
    vec![upload, read]
}

fn going() -> Vec<Step> {
    vec![
        Step::new("解散群 (alice ends the group)", "POST /api/chat/groupDeleteOrQuit")
            .by(ALICE)
            .json(&json!({ "id": "{{groupId}}" })),
        Step::new("删除好友 (they part)", "POST /api/chat/deletegoodfriend/{id}")
            .by(BOB)
            .path("id", "{{aliceId}}")
            .expect("says so", "got === '删除好友成功'"),
        Step::new("退出登录 (alice logs out)", "POST /api/chat/logout").by(ALICE).expect("is true", "got === true"),
        Step::new("旧令牌失效 (her token is over)", "POST /api/chat/logout").by(ALICE).refused("Token 令牌不合法！"),
    ]
}
