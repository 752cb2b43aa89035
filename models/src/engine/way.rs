//! How loops over floats are computed.

use std::sync::LazyLock;

/// An instruction set; all of them give the same results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256 bits, with fused multiply-add and conversion from f16.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 128 bits of ARM.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Any processor.
    Plain,
}

impl Way {
    /// Every way that this processor knows, fastest first.
    pub fn available() -> Vec<Way> {
        let mut ways = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                ways.push(Way::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
                ways.push(Way::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        ways.push(Way::Neon);
        ways.push(Way::Plain);
        ways
    }

    /// The fastest of them.
    pub fn best() -> Way {
        static BEST: LazyLock<Way> = LazyLock::new(|| Way::available()[0]);
        *BEST
    }
}
