//! Inputs and outputs of a network, checked when it is loaded.

use std::ffi::CStr;

use ort::value::{Outlet, TensorElementType};

use super::session::{EMBEDDING, IDS, LOGITS, MASK, SPANS, TYPES};
use crate::registry::Signature;

/// Inputs that a network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inputs {
    /// Sequences and spans in them. The network returns a row for each span.
    Spans,
    /// Sequences, with or without the segment of each token. The network returns a row for each sequence.
    Pairs { with_types: bool },
    /// Sequences. The network returns a vector of `width` numbers for each.
    Texts { width: usize },
}

impl Inputs {
    /// Returns the inputs of a network. The error says how they differ from `signature`.
    pub(super) fn check(network: &ort::session::Session, signature: Signature) -> Result<Self, String> {
        let (inputs, outputs) = (network.inputs(), network.outputs());
        let output = name(if signature == Signature::Text { EMBEDDING } else { LOGITS });
        let mut expected: Vec<(&str, usize)> = vec![(name(IDS), 2), (name(MASK), 2)];
        let mut taken = match signature {
            Signature::Text => Self::Texts { width: 0 },
            Signature::Span => {
                expected.extend(SPANS.map(|span| (name(span), 1)));
                Self::Spans
            }
            Signature::Pair => {
                let with_types = inputs.iter().any(|input| input.name() == name(TYPES));
                if with_types {
                    expected.push((name(TYPES), 2));
                }
                Self::Pairs { with_types }
            }
        };
        check_names("inputs", inputs, &expected, signature)?;
        check_names("outputs", outputs, &[(output, 2)], signature)?;
        for &(name, dimensions) in &expected {
            let shape = shape_of(inputs, name, TensorElementType::Int64)?;
            if shape.len() != dimensions {
                return Err(format!(
                    "its input {name} has {} dimensions, and must have {dimensions}",
                    shape.len()
                ));
            }
            if let Some(fixed) = shape.iter().find(|&&size| size >= 0) {
                return Err(format!(
                    "a dimension of its input {name} is fixed to {fixed}; export it with dynamic axes, since batches \
                     differ in number and length of their sequences"
                ));
            }
        }
        let shape = shape_of(outputs, output, TensorElementType::Float32)?;
        match (&mut taken, &shape[..]) {
            (Self::Texts { width }, &[-1, fixed]) if fixed > 0 => {
                *width = usize::try_from(fixed).map_err(|error| error.to_string())?;
                Ok(taken)
            }
            (Self::Texts { .. }, shape) => {
                Err(format!("its output {output} has the shape {shape:?}, and must have [-1, width]"))
            }
            (_, [-1, 3 | -1]) => Ok(taken),
            (_, [-1, classes]) => Err(format!(
                "its output {output} has {classes} classes, and must have 3: negative, neutral, positive"
            )),
            (_, shape) => Err(format!("its output {output} has the shape {shape:?}, and must have [-1, 3]")),
        }
    }
}

/// Checks that the names are the expected ones, in any order.
fn check_names(
    what: &str,
    outlets: &[Outlet],
    expected: &[(&str, usize)],
    signature: Signature,
) -> Result<(), String> {
    let actual: Vec<&str> = outlets.iter().map(Outlet::name).collect();
    if actual.len() == expected.len() && expected.iter().all(|(name, _)| actual.contains(name)) {
        return Ok(());
    }
    let expected: Vec<&str> = expected.iter().map(|&(name, _)| name).collect();
    let hint = match signature {
        Signature::Pair if what == "inputs" => ", with token_type_ids or without",
        _ => "",
    };
    Err(format!(
        "its {what} are {actual:?}, and those of signature {:?} are {expected:?}{hint}",
        signature.name()
    ))
}

/// Returns the dimensions of a tensor, -1 for dynamic ones. The error says that it does not hold `kind`.
fn shape_of(outlets: &[Outlet], name: &str, kind: TensorElementType) -> Result<Vec<i64>, String> {
    let outlet = outlets.iter().find(|outlet| outlet.name() == name);
    let dtype = outlet.ok_or_else(|| format!("it has no {name}"))?.dtype();
    match (dtype.tensor_type(), dtype.tensor_shape()) {
        (Some(actual), Some(shape)) if actual == kind => Ok(shape.to_vec()),
        (Some(actual), _) => Err(format!("{name} holds {actual}, and must hold {kind}")),
        _ => Err(format!("{name} is no tensor")),
    }
}

fn name(name: &'static CStr) -> &'static str {
    name.to_str().expect("the names are ASCII")
}
