//! The signed routes (API document chapters 13, 14, 15).

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::Response;

use super::model::Signed;
use super::service;
use crate::accounts::auth::ClientAddress;
use crate::accounts::credentials::{Credentials, NewCredentials};
use crate::accounts::model::DeviceStats;
use crate::app::Shared;
use crate::error::{AppError, Result};
use crate::http::{Draft, Fields, Payload, ok};

/// `X-Security-Sign`; its absence is refused before any parameter is looked at.
#[derive(Debug)]
pub struct Sign(String);

impl<S: Send + Sync> FromRequestParts<S> for Sign {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let sign = parts.headers.get("x-security-sign").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if sign.is_empty() {
            return Err(AppError::refused("非法访问"));
        }
        Ok(Self(sign.to_owned()))
    }
}

/// The signed parameters.
#[derive(Debug)]
struct Device {
    id: String,
    timestamp: i64,
}

impl Draft for Device {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self {
            id: fields.string("deviceId", "设备指纹", 36, 200)?,
            timestamp: fields.int(
                "timestamp",
                "时间戳",
                -crate::http::fields::INT_MAX,
                crate::http::fields::INT_MAX,
            )?,
        })
    }
}

impl Device {
    fn signed(self, Sign(sign): Sign) -> Signed {
        Signed { sign, device_id: self.id, timestamp: self.timestamp }
    }
}

/// A device that arrives.
#[derive(Debug)]
pub struct Arrival {
    device: Device,
    stats: DeviceStats,
}

impl Draft for Arrival {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self {
            device: Device::read(fields)?,
            stats: DeviceStats {
                uniplatform: fields.optional_string("uniplatform", 2, 50),
                devicemodel: fields.optional_string("devicemodel", 1, 50),
                deviceos: fields.optional_string("deviceos", 1, 50),
                devicebrand: fields.optional_string("devicebrand", 1, 50),
            },
        })
    }
}

/// `POST /api/visitorRegister`
pub async fn arrive(
    State(app): State<Shared>,
    ClientAddress(ip): ClientAddress,
    sign: Sign,
    Payload(arrival): Payload<Arrival>,
) -> Result<Response> {
    Ok(ok(service::arrive(&app, &arrival.device.signed(sign), arrival.stats, ip).await?))
}

/// A person at a device, with a name and a password, of an account that is there or new.
#[derive(Debug)]
pub struct OnDevice<C> {
    device: Device,
    credentials: C,
}

impl<C: Draft> Draft for OnDevice<C> {
    fn read(fields: &Fields) -> Result<Self> {
        Ok(Self { device: Device::read(fields)?, credentials: C::read(fields)? })
    }
}

/// `POST /api/visitorregChat`
pub async fn register(
    State(app): State<Shared>,
    ClientAddress(ip): ClientAddress,
    sign: Sign,
    Payload(OnDevice { device, credentials: NewCredentials(credentials) }): Payload<OnDevice<NewCredentials>>,
) -> Result<Response> {
    let signed = device.signed(sign);
    Ok(ok(service::register(&app, &signed, &credentials.username, &credentials.password, ip).await?))
}

/// `POST /api/visitorloginChat`
pub async fn login(
    State(app): State<Shared>,
    ClientAddress(ip): ClientAddress,
    sign: Sign,
    Payload(OnDevice { device, credentials }): Payload<OnDevice<Credentials>>,
) -> Result<Response> {
    let signed = device.signed(sign);
    Ok(ok(service::login(&app, &signed, &credentials.username, &credentials.password, ip).await?))
}
