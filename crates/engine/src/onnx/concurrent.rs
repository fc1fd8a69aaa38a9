//! Runs one ONNX Runtime session from several threads, so that the weights are in memory once.
//!
//! `ort` makes runs exclusive, since some execution providers are not thread-safe. ONNX Runtime promises concurrent
//! runs of one session, and this program uses its CPU provider alone, without an arena and without memory patterns.
#![expect(unsafe_code, reason = "the safe interface of `ort` needs exclusive access for a run")]

use std::ffi::{CStr, c_char};
use std::ptr;

use ort::AsPointer as _;
use ort::session::Session;
use ort::value::{TensorRef, TensorRefMut};

/// A session of the CPU provider that threads may share.
pub(super) struct ConcurrentSession(Session);

impl ConcurrentSession {
    pub(super) fn new(session: Session) -> Self {
        Self(session)
    }

    /// Runs the network on `inputs`, and writes its outputs to the buffers of `outputs`.
    ///
    /// # Errors
    ///
    /// If ONNX Runtime fails, or an output has another shape than its buffer.
    pub(super) fn run<const I: usize, const O: usize>(
        &self,
        inputs: &[(&CStr, TensorRef<'_, i64>); I],
        outputs: &mut [(&CStr, TensorRefMut<'_, f32>); O],
    ) -> ort::Result<()> {
        let input_names: [*const c_char; I] = std::array::from_fn(|index| inputs[index].0.as_ptr());
        let input_values: [*const ort::sys::OrtValue; I] = std::array::from_fn(|index| inputs[index].1.ptr());
        let output_names: [*const c_char; O] = std::array::from_fn(|index| outputs[index].0.as_ptr());
        let mut output_values: [*mut ort::sys::OrtValue; O] =
            std::array::from_fn(|index| outputs[index].1.ptr().cast_mut());
        // SAFETY: The session outlives the call, which may run on several threads at once (see above). Each array has
        // the length that is passed with it. The names end with a zero, and they and the tensors live until the end of
        // this function. The library writes only to the output tensors, to which this function has exclusive access.
        let status = unsafe {
            (ort::api().Run)(
                self.0.ptr().cast_mut(),
                ptr::null(),
                input_names.as_ptr(),
                input_values.as_ptr(),
                I,
                output_names.as_ptr(),
                O,
                output_values.as_mut_ptr(),
            )
        };
        // SAFETY: This is the status that the call returned, and nothing else releases it.
        unsafe { ort::Error::result_from_status(status) }
    }
}
