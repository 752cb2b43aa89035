//! Where the networks run: the processor, or a CUDA card in a build with the feature `cuda`.
//!
//! Invariant: no other file but those of BERT's layers in candle knows about CUDA.

use candle_core::Device;

use crate::ModelError;

/// Chooses the device of networks of BERT's layers, which alone can run elsewhere than on the processor: the first CUDA card
/// where this build and the machine have one.
///
/// # Errors
/// [`ModelError::Compute`] when a card is present and cannot be used.
pub fn device() -> Result<Device, ModelError> {
    #[cfg(feature = "cuda")]
    if candle_core::utils::cuda_is_available() {
        return Device::cuda_if_available(0).map_err(|error| ModelError::Compute(error.to_string()));
    }
    Ok(Device::Cpu)
}
