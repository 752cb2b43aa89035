//! `file://` addresses (RFC 8089).

use std::fmt::Write;
use std::path::Path;

/// The address of an absolute path, each byte that is not plain in a URI percent-encoded.
pub(super) fn of_file(path: &Path) -> String {
    let mut uri = String::from("file://");
    for &byte in path.as_os_str().as_encoded_bytes() {
        // Unreserved characters (RFC 3986, 2.3) and the separator stand for themselves.
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            write!(uri, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_encoded() {
        let uri = of_file(Path::new("/srv/Política de viajes #2 (50%).md"));
        assert_eq!(uri, "file:///srv/Pol%C3%ADtica%20de%20viajes%20%232%20%2850%25%29.md");
    }
}
