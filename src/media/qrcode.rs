//! QR codes of groups and people: their texts (contract: messaging 4.29) and their pictures.

use bytes::Bytes;
use image::ExtendedColorType;
use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use qrcode::{Color, EcLevel, QrCode};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::cache;
use crate::error::{AppError, Result};
use crate::http::component;

/// Pixels of a module's side.
const MODULE: usize = 10;
/// Modules of white around the code.
const MARGIN: usize = 4;
/// Pictures kept, in bytes: some 3 KB each.
const CACHE_BYTES_MAX: u64 = 8 * 1024 * 1024;
const TOO_LONG: AppError = AppError::refused("二维码内容过长");

/// Weighs a picture in the cache.
#[derive(Clone, Debug)]
pub struct BySize;

impl Weighter<String, Bytes> for BySize {
    fn weight(&self, text: &String, picture: &Bytes) -> u64 {
        (text.len() + picture.len()) as u64
    }
}

/// An empty cache of pictures by their texts.
pub fn cache() -> Cache<String, Bytes, BySize> {
    cache::weighted(2000, CACHE_BYTES_MAX, BySize)
}

/// The text of a group for a browser: the H5 client's page with what it needs to join.
pub fn group_page(http: &str, id: i64, name: &str) -> String {
    page(http, "群介绍", id, "group", &format!("&name={name}"))
}

/// The text of a person for a browser.
pub fn person_page(http: &str, id: i64, name: &str, avatar: &str) -> String {
    page(http, &format!("加用户[{name}]为好友"), id, "single", &format!("&name={name}&avatar={avatar}"))
}

fn page(http: &str, title: &str, id: i64, chat_type: &str, more: &str) -> String {
    let title = component::encode(title);
    format!(
        "{http}#/pages/setpageInfo/setpageInfo?action=autoAddGroup&title={title}&id={id}&chatType={chat_type}{more}"
    )
}

/// The text for an app's scanner. A person's names its type as well, since a scanner would take it for a group's.
pub fn app_text(id: i64, name: &str, chat_type: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Text<'a> {
        id: i64,
        name: &'a str,
        #[serde(rename = "chatType", skip_serializing_if = "Option::is_none")]
        chat_type: Option<&'a str>,
    }
    serde_json::to_string(&Text { id, name, chat_type }).expect("numbers and strings are always JSON")
}

/// Names a picture by its text, of which it is a pure function: known before anything is drawn.
pub fn etag(text: &str) -> String {
    let digest = Sha256::digest(text);
    let short = digest.first_chunk().expect("a digest has 32 bytes");
    format!("\"{:032x}\"", u128::from_be_bytes(*short))
}

/// Draws a text: PNG, 8-bit greyscale, level M, the geometry of the old server's library.
pub fn draw(text: &str) -> Result<Bytes> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).map_err(|_| TOO_LONG)?;
    let modules = code.width();
    let side = (modules + 2 * MARGIN) * MODULE;
    let mut pixels = vec![0xff_u8; side * side];
    for (index, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let (x, y) = ((index % modules + MARGIN) * MODULE, (index / modules + MARGIN) * MODULE);
            pixels[y * side + x..][..MODULE].fill(0);
        }
    }
    // Only the first line of each row of modules is drawn so far; the others are its copies.
    for row in MARGIN..MARGIN + modules {
        let first = row * MODULE * side;
        for line in 1..MODULE {
            pixels.copy_within(first..first + side, first + line * side);
        }
    }
    let mut png = Vec::new();
    let side = u32::try_from(side).map_err(AppError::internal)?;
    // A line is mostly the same as the one above it.
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Up)
        .write_image(&pixels, side, side, ExtendedColorType::L8)
        .map_err(AppError::internal)?;
    Ok(png.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_contracts() {
        assert_eq!(
            group_page("http://192.168.2.6:8081/", 33, "睿晨网 技术群"),
            "http://192.168.2.6:8081/#/pages/setpageInfo/setpageInfo?action=autoAddGroup&title=%E7%BE%A4%E4%BB%8B%E7%BB%8D\
             &id=33&chatType=group&name=睿晨网 技术群"
        );
        assert_eq!(
            person_page("http://x", 7, "a'(b)&c", "/public/a.png"),
            "http://x#/pages/setpageInfo/setpageInfo?action=autoAddGroup&title=%E5%8A%A0%E7%94%A8%E6%88%B7%5Ba'(b)%26c%5D\
             %E4%B8%BA%E5%A5%BD%E5%8F%8B&id=7&chatType=single&name=a'(b)&c&avatar=/public/a.png"
        );
        assert_eq!(app_text(33, "a\"b", None), r#"{"id":33,"name":"a\"b"}"#);
        assert_eq!(app_text(7, "a", Some("single")), r#"{"id":7,"name":"a","chatType":"single"}"#);
    }

    #[test]
    fn the_picture_has_ten_pixels_a_module_and_four_modules_of_margin() {
        // 42 letters fill version 3 at level M: 29 modules.
        let png = draw(&"a".repeat(42)).unwrap();
        let picture = image::load_from_memory(&png).unwrap();
        assert_eq!((picture.width(), picture.height(), picture.color()), (370, 370, image::ColorType::L8));
        let picture = picture.into_luma8();
        assert_eq!(picture.get_pixel(39, 39).0, [255]);
        assert_eq!((picture.get_pixel(40, 40).0, picture.get_pixel(109, 40).0), ([0], [0]));
        assert_eq!(picture.get_pixel(110, 40).0, [255]);
    }

    #[test]
    fn what_no_code_can_hold_is_refused() {
        assert!(draw(&"群".repeat(900)).is_err());
    }
}
