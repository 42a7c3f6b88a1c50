//! Sets the scene through the API, as clients would: people, open doors, friends, groups, sockets.

use std::{cell::RefCell, collections::HashSet, net::SocketAddr};

use serde_json::{Value, json};

use crate::{
    crew::{Crew, spread},
    failure::{Failure, While},
    http::Http,
    server::Server,
    ws::Socket,
};

/// Everybody's.
pub const PASSWORD: &str = "secret12";

/// Lets strangers write without end; the default is one message.
const OPEN_DOOR: &str =
    r#"{"chatset":{"visitor":{"sendCount":2,"needFollow":false},"user":{"sendCount":2,"needFollow":false}}}"#;

/// A registered user.
#[derive(Clone)]
pub struct Person {
    pub id: u64,
    pub username: String,
    pub token: String,
}

/// Registers `count` users named after `prefix`.
pub async fn register(address: SocketAddr, prefix: &str, count: usize) -> Result<Vec<Person>, Failure> {
    spread(address, count, async |http: &mut Http, index| {
        let username = format!("{prefix}_{index:06}");
        let body = json!({"username": username, "password": PASSWORD});
        let user = http.call("POST /api/regChat", "", &body).await?;
        let id = user["id"].as_u64().doing("the id of a new user")?;
        let token = user["token"].as_str().doing("the token of a new user")?.to_owned();
        Ok(Person { id, username, token })
    })
    .await
}

/// Makes everybody writable by strangers.
pub async fn open_doors(address: SocketAddr, people: &[Person]) -> Result<(), Failure> {
    spread(address, people.len(), async |http: &mut Http, index| {
        http.call("POST /api/chat/userset", &people[index].token, &json!({"userset": OPEN_DOOR})).await
    })
    .await
    .map(|_| ())
}

/// Opens a socket for each person, as the real client does: the handshake, then the call for what is pending.
/// Each socket is read from the start by its own task; `reader(i)` makes what looks at the frames of person `i`.
pub async fn come_online<R>(
    address: SocketAddr,
    people: &[Person],
    reader: impl Fn(usize) -> R,
) -> Result<Crew, Failure>
where
    R: FnMut(&[u8]) + 'static,
{
    let crew = RefCell::new(Crew::default());
    spread(address, people.len(), async |http: &mut Http, index| {
        let person = &people[index];
        let mut socket = Socket::open(address, &person.token).await.doing(&person.username)?;
        let mut on_text = reader(index);
        let username = person.username.clone();
        crew.borrow_mut().add(async move {
            loop {
                socket.pump(&mut on_text).await.doing(&username)?;
            }
        });
        http.call("POST /api/chat/chatGetmessageOffLine", &person.token, &json!({})).await
    })
    .await?;
    Ok(crew.into_inner())
}

/// Makes everybody a friend of `one`, at once and without asking.
pub async fn befriend(address: SocketAddr, one: &Person, others: &[Person]) -> Result<(), Failure> {
    spread(address, others.len(), async |http: &mut Http, index| {
        let body = json!({"friend_id": others[index].id});
        http.call("POST /api/chat/autoAddFriendAndAgree", &one.token, &body).await
    })
    .await
    .map(|_| ())
}

/// Makes a group of `owner` and `others`; hands out its id.
pub async fn make_group(server: &Server, owner: &Person, others: &[Person]) -> Result<u64, Failure> {
    if server.is_ceiling() {
        return Ok(1);
    }
    befriend(server.address, owner, others).await?;
    let mut http = Http::open(server.address).await?;
    let list = http.call("GET /api/chat/goodfriendlist/1?limit=5000", &owner.token, &Value::Null).await?;
    let wanted: HashSet<u64> = others.iter().map(|person| person.id).collect();
    let groups = list["rows"]["newList"].as_array().doing("the friend list")?;
    let friends = groups.iter().filter_map(|letter| letter["list"].as_array()).flatten();
    let row_ids: Vec<&Value> = friends
        .filter(|friend| friend["friend_id"].as_u64().is_some_and(|id| wanted.contains(&id)))
        .map(|friend| &friend["id"])
        .collect();
    if row_ids.len() != others.len() {
        let text = format!("{} of {} friends are in the list", row_ids.len(), others.len());
        return Err(Failure::new(text));
    }
    http.call("POST /api/chat/group/create", &owner.token, &json!({"userIds": row_ids})).await?;
    let mine = http.call("GET /api/chat/grouplist/1?limit=1", &owner.token, &Value::Null).await?;
    mine[0]["id"].as_u64().doing("the id of the new group")
}
