//! `file://` addresses (RFC 8089).

use std::path::Path;

use crate::escape::{self, percent};

/// The address of an absolute path, each byte that is not plain in a URI percent-encoded.
pub(super) fn of_file(path: &Path) -> String {
    format!("file://{}", percent(path.as_os_str().as_encoded_bytes(), escape::PATH))
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
