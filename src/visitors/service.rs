//! The rules of guests: one guest a device, upgraded in place when it registers (decisions 11, 14, 15).

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use tracing::warn;

use super::model::Signed;
use crate::accounts::model::{Account, AccountRow, DeviceStats, NewUser, Role};
use crate::accounts::service::{self as accounts, NO_ACCOUNT, Resumed};
use crate::app::{App, Shared};
use crate::clock::HOUR_MS;
use crate::config;
use crate::error::{AppError, Result};
use crate::http::network::Newcomers;
use crate::ids;
use crate::limits::{Seldom, SlidingLimit};

/// Names tried for a new guest before giving up: two devices may share their first eight characters.
const NAMES_MAX: u32 = 8;
/// Looks for the guest of a device before giving up: it may register between a look and the next step.
const ARRIVALS_MAX: u32 = 3;

/// No password has this hash, and it costs nothing to make: guests never log in with one.
pub const NO_PASSWORD: &str = "!";

/// Counts of accepted calls a device, and of new guests a network.
#[derive(Debug)]
pub struct State {
    guests: Newcomers,
    arrivals: SlidingLimit<String>,
    repeats: SlidingLimit<String>,
    registrations: SlidingLimit<String>,
    logins: SlidingLimit<String>,
    /// Statistics that could not be stored were told of.
    told: Seldom,
}

impl State {
    /// Limits from the configuration.
    pub fn new(limits: &config::Limits) -> Self {
        let calls = || SlidingLimit::new(limits.visitor_calls_per_hour, HOUR_MS);
        Self {
            guests: Newcomers::new(limits.guests_per_address, HOUR_MS),
            arrivals: calls(),
            repeats: SlidingLimit::new(limits.visitor_repeats_per_hour, HOUR_MS),
            registrations: calls(),
            logins: calls(),
            told: Seldom::default(),
        }
    }
}

/// Gives the device its guest: the same one with the same token while that is valid, else a new token or a new guest.
///
/// The client fires several of these at once, so everything that decides between the two happens in one transaction.
pub async fn arrive(app: &Shared, signed: &Signed, stats: DeviceStats, ip: IpAddr) -> Result<Account> {
    check(app, signed)?;
    for _ in 0..ARRIVALS_MAX {
        let device_id = signed.device_id.as_str();
        let (id, known) = match guest_of(app, device_id).await? {
            Some(guest) => (enabled(guest)?.id, true),
            None => match make_counted_guest(app, device_id, stats.clone(), ip).await? {
                Some(id) => (id, false),
                // Another call of the same device made it in the meantime.
                None => (guest_of(app, device_id).await?.ok_or_else(AppError::busy)?.id, true),
            },
        };
        let Some(account) = resume(app, id, device_id, ip).await? else { continue };
        if known {
            // Afterwards, as the old backend did: the reply shows what the device said before.
            let stored = accounts::set_device_stats(app, id, &stats).await;
            // The guest has its token, and these are statistics.
            if let Err(cause) = stored
                && app.visitors.told.is_due()
            {
                warn!(cause = cause.for_log(), "what a device says of itself could not be stored (said once a minute)");
            }
        }
        return Ok(account);
    }
    Err(AppError::busy())
}

/// Hands out the guest's token, counted for its device by whether it is the same one or another; if it could not be, it does not count.
async fn resume(app: &Shared, guest: ids::UserId, device_id: &str, ip: IpAddr) -> Result<Option<Account>> {
    const fn limit(app: &App, resumed: Resumed) -> &SlidingLimit<String> {
        match resumed {
            Resumed::Again => &app.visitors.repeats,
            Resumed::Anew => &app.visitors.arrivals,
        }
    }
    let counted = Arc::new(OnceLock::new());
    let (own, device, noted) = (app.clone(), device_id.to_owned(), counted.clone());
    let admit = move |resumed| {
        count(&own, limit(&own, resumed), &device)?;
        noted.get_or_init(|| resumed);
        Ok(())
    };
    accounts::resume_guest(app, guest, ip, admit).await.inspect_err(|_| {
        if let Some(resumed) = counted.get() {
            limit(app, *resumed).give_back(&device_id.to_owned());
        }
    })
}

/// A new guest, counted for its network as a new account is; see [`make_guest`].
async fn make_counted_guest(app: &App, device_id: &str, stats: DeviceStats, ip: IpAddr) -> Result<Option<ids::UserId>> {
    let limit = &app.visitors.guests;
    if !limit.admit(ip, app.clock.now_ms()) {
        return Err(too_many(app));
    }
    let made = make_guest(app, device_id, stats).await;
    if !matches!(made, Ok(Some(_))) {
        limit.take_back(ip);
    }
    made
}

/// Registers the person at the device: its guest becomes the account, or a new account is made if it has none.
pub async fn register(app: &Shared, signed: &Signed, username: &str, password: &str, ip: IpAddr) -> Result<Account> {
    check(app, signed)?;
    let limit = &app.visitors.registrations;
    count(app, limit, &signed.device_id)?;
    let registered = async {
        match guest_of(app, &signed.device_id).await? {
            Some(guest) => accounts::upgrade_guest(app, enabled(guest)?.id, username, password, ip).await,
            None => accounts::register(app, username, password, ip).await,
        }
    };
    registered.await.inspect_err(|_| limit.give_back(&signed.device_id))
}

/// Logs the person at the device in; the device's guest stays what it is.
pub async fn login(app: &Shared, signed: &Signed, username: &str, password: &str, ip: IpAddr) -> Result<Account> {
    check(app, signed)?;
    let limit = &app.visitors.logins;
    count(app, limit, &signed.device_id)?;
    let logged_in = accounts::login(app, username, password, ip).await;
    logged_in.inspect_err(|_| limit.give_back(&signed.device_id))
}

/// A guest that the operator has disabled gets neither a token nor, by registering, a name that would open nothing.
fn enabled(guest: AccountRow) -> Result<AccountRow> {
    if guest.status == 1 { Ok(guest) } else { Err(NO_ACCOUNT) }
}

/// The device's guest. A registered account that an import left linked to the device is unlinked: a device id alone never
/// opens a registered account (decision 15).
async fn guest_of(app: &App, device_id: &str) -> Result<Option<AccountRow>> {
    match accounts::find_by_device(app, device_id).await? {
        Some(row) if row.role != Role::Visitor.as_str() => {
            accounts::unlink_device(app, row.id).await?;
            Ok(None)
        }
        found => Ok(found),
    }
}

/// A new guest, or `None` if the device got one meanwhile.
async fn make_guest(app: &App, device_id: &str, stats: DeviceStats) -> Result<Option<ids::UserId>> {
    for attempt in 0..NAMES_MAX {
        let mut username = format!("VIS{}", &device_id[..8]);
        if attempt > 0 {
            username.push_str(&ids::uuid()[..8]);
        }
        let now_ms = app.clock.now_ms();
        let new = NewUser {
            uuid: ids::uuid(),
            username: &username,
            password_hash: NO_PASSWORD,
            role: Role::Visitor,
            device_id: Some(device_id),
            stats: stats.clone(),
            last_login_at: Some(now_ms),
            now_ms,
        };
        match accounts::insert(app, &new).await {
            Ok(id) => return Ok(Some(id)),
            Err(AppError::Refused(_)) if guest_of(app, device_id).await?.is_some() => return Ok(None),
            Err(AppError::Refused(_)) => {}
            Err(other) => return Err(other),
        }
    }
    Err(AppError::busy())
}

fn check(app: &App, signed: &Signed) -> Result<()> {
    signed.check(&app.config.sign_salt, app.clock.now_ms())
}

fn count(app: &App, limit: &SlidingLimit<String>, device_id: &str) -> Result<()> {
    if limit.take(device_id.to_owned(), app.clock.now_ms()) { Ok(()) } else { Err(too_many(app)) }
}

fn too_many(app: &App) -> AppError {
    app.metrics.limited.visitor.inc();
    AppError::refused("请求过于频繁，请1个小时后再试")
}
