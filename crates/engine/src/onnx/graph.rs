//! Networks as ONNX Runtime runs them best: what one of its kernels does slowly is written as what others do quickly.
//!
//! `SkipLayerNormalization` adds two tensors and normalises the sum, and takes seven times as long for it as `Sum` and
//! `LayerNormalization` do (version 1.31, 240 tokens of 384 channels: 407 µs against 56); in older models of the repository a
//! third of all time. Tools that optimise networks put it in, so that users' own models have it too. ONNX Runtime would join `Add`
//! and `LayerNormalization` again, so it is `Sum` that adds.
//!
//! `Softmax` gives what a token may not see the smallest share that there is, and where -10,000 was added to its score, that is a
//! denormal number, which processors make and multiply many times more slowly than others: a twelfth of the time of a run whose
//! rows differ by two tokens or three. With -50 the share is 2e-22, which still changes no bit of a sum.
//!
//! A network is a message of Protocol Buffers (`onnx.proto` names the fields). All that is not touched is copied as it is.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where ONNX Runtime is to read a network from.
#[derive(Clone, Debug)]
pub enum NetworkSource {
    /// The file as it is.
    File(PathBuf),
    /// What was made of it.
    Memory(Arc<Vec<u8>>),
}

impl NetworkSource {
    /// Reads the network at `path`, and rewrites it where that makes it quicker.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read. One that is no network is left to ONNX Runtime to complain of.
    pub fn prepare(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        // With room for what it grows by.
        let mut network = Vec::with_capacity(length + (64 << 10));
        file.read_to_end(&mut network)?;
        let is_rewritten = rewrite(&mut network);
        Ok(if is_rewritten { Self::Memory(Arc::new(network)) } else { Self::File(path.to_owned()) })
    }
}

/// What is added to the scores of what is not to be seen, in networks as they were exported and here.
const MASKED: [u8; 4] = (-10_000.0_f32).to_le_bytes();
const NEARER: [u8; 4] = (-50.0_f32).to_le_bytes();

const SLOW: &[u8] = b"SkipLayerNormalization";
const SLOW_DOMAIN: &[u8] = b"com.microsoft";
/// Its `epsilon` where a node does not say, 1e-12, as an attribute: name, a float, and the kind of an attribute that is one.
/// `LayerNormalization` would take 1e-5.
const SLOW_EPSILON: &[u8] = b"\x0a\x07epsilon\x15\xcc\xbc\x8c\x2b\xa0\x01\x01";

/// Fields of the messages, by number.
mod field {
    pub(super) const MODEL_GRAPH: u64 = 7;
    pub(super) const GRAPH_NODE: u64 = 1;
    pub(super) const GRAPH_INITIALIZER: u64 = 5;
    pub(super) const NODE_INPUT: u64 = 1;
    pub(super) const NODE_OUTPUT: u64 = 2;
    pub(super) const NODE_NAME: u64 = 3;
    pub(super) const NODE_OP_TYPE: u64 = 4;
    pub(super) const NODE_ATTRIBUTE: u64 = 5;
    pub(super) const NODE_DOMAIN: u64 = 7;
    pub(super) const ATTRIBUTE_NAME: u64 = 1;
    pub(super) const TENSOR_FLOATS: u64 = 4;
    pub(super) const TENSOR_NAME: u64 = 8;
    pub(super) const TENSOR_BYTES: u64 = 9;
    pub(super) const TENSOR_EXTERNAL_DATA: u64 = 13;
}

/// Writes what is slow in a network otherwise, in its own memory. Returns whether there was anything; in one that is not
/// understood there is nothing.
fn rewrite(network: &mut Vec<u8>) -> bool {
    match edits_of(network) {
        Some(edits) if !edits.is_empty() => {
            apply(network, &edits);
            true
        }
        _ => false,
    }
}

/// What to have in the place of a part of a network.
struct Edit {
    part: Range<usize>,
    new: Vec<u8>,
}

/// The edits that a network needs, in order; `None` where it is not understood.
fn edits_of(network: &[u8]) -> Option<Vec<Edit>> {
    let mut edits = Vec::new();
    for part in Fields::of(network, 0..network.len()) {
        let Field { number, value, whole } = part?;
        let Some(graph) = value.filter(|_| number == field::MODEL_GRAPH) else { continue };
        let before = edits.len();
        let masks = masks_of(network, graph.clone())?;
        for part in Fields::of(network, graph.clone()) {
            let Field { number, value, whole } = part?;
            let Some(place) = value else { continue };
            if number == field::GRAPH_INITIALIZER {
                let tensor = Tensor::read(network, place)?;
                if tensor.is_external {
                    // It is looked for beside the network, which has no place in memory.
                    return Some(Vec::new());
                }
                if let Some(part) = tensor.value.filter(|_| masks.contains(&tensor.name))
                    && network[part.clone()] == MASKED
                {
                    edits.push(Edit { part, new: NEARER.to_vec() });
                }
            } else if number == field::GRAPH_NODE
                && let Some(nodes) = quicker_nodes(&Node::read(network, place)?)
            {
                let mut new = Vec::new();
                for node in nodes {
                    put(&mut new, field::GRAPH_NODE, &node);
                }
                // Shorter only where the node has a long description.
                if new.len() >= whole.len() {
                    edits.push(Edit { part: whole, new });
                }
            }
        }
        // The graph says how long it is.
        let (taken, given) = edits[before..]
            .iter()
            .fold((0, 0), |(taken, given), edit| (taken + edit.part.len(), given + edit.new.len()));
        let mut new = Vec::new();
        put_varint(&mut new, field::MODEL_GRAPH << 3 | 2);
        put_varint(&mut new, (graph.len() - taken + given) as u64);
        if edits.len() > before {
            edits.insert(before, Edit { part: whole.start..graph.start, new });
        }
    }
    // A length may be written with more bytes than it needs, though nobody does.
    edits.iter().all(|edit| edit.new.len() >= edit.part.len()).then_some(edits)
}

/// Makes edits, which are in order and shorten nothing, from the end on: a network is large, and two of it would be as much as a
/// server needs at work.
fn apply(network: &mut Vec<u8>, edits: &[Edit]) {
    let grown: usize = edits.iter().map(|edit| edit.new.len() - edit.part.len()).sum();
    let mut from = network.len();
    let mut to = from + grown;
    network.resize(to, 0);
    for Edit { part, new } in edits.iter().rev() {
        let after = from - part.end;
        network.copy_within(part.end..from, to - after);
        to -= after + new.len();
        network[to..to + new.len()].copy_from_slice(new);
        from = part.start;
    }
}

/// What there is to know of a tensor.
#[derive(Default)]
struct Tensor<'a> {
    name: &'a [u8],
    /// Where its one number of four bytes is, if that is all it has.
    value: Option<Range<usize>>,
    /// Whether it is in a file of its own.
    is_external: bool,
}

impl<'a> Tensor<'a> {
    /// The tensor at `tensor` of `network`; `None` where it is not understood.
    fn read(network: &'a [u8], tensor: Range<usize>) -> Option<Self> {
        let mut read = Self::default();
        for part in Fields::of(network, tensor) {
            let Field { number, value, .. } = part?;
            let Some(value) = value else { continue };
            match number {
                field::TENSOR_NAME => read.name = &network[value],
                field::TENSOR_FLOATS | field::TENSOR_BYTES if value.len() == MASKED.len() => {
                    read.value = Some(value);
                }
                field::TENSOR_EXTERNAL_DATA => read.is_external = true,
                _ => {}
            }
        }
        Some(read)
    }
}

/// The names of tensors that are nothing but what `Where` gives for what does not hold; `None` where the graph is not understood.
fn masks_of(network: &[u8], graph: Range<usize>) -> Option<Vec<&[u8]>> {
    let (mut masks, mut others) = (Vec::new(), Vec::new());
    for part in Fields::of(network, graph) {
        let Field { number, value, .. } = part?;
        let Some(node) = value.filter(|_| number == field::GRAPH_NODE) else { continue };
        let Node { mut inputs, op_type, .. } = Node::read(network, node)?;
        if op_type == b"Where" {
            masks.extend(inputs.drain(inputs.len().min(2)..));
        }
        others.append(&mut inputs);
    }
    masks.retain(|name| !others.contains(name));
    Some(masks)
}

/// What there is to know of a node.
#[derive(Default)]
struct Node<'a> {
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a [u8]>,
    name: &'a [u8],
    op_type: &'a [u8],
    domain: &'a [u8],
    /// The attribute of that name, whole.
    epsilon: Option<&'a [u8]>,
}

impl<'a> Node<'a> {
    /// The node at `node` of `network`; `None` where it is not understood.
    fn read(network: &'a [u8], node: Range<usize>) -> Option<Self> {
        let mut read = Self::default();
        for part in Fields::of(network, node) {
            let Field { number, value, .. } = part?;
            let Some(value) = value.map(|value| &network[value]) else { continue };
            match number {
                field::NODE_INPUT => read.inputs.push(value),
                field::NODE_OUTPUT => read.outputs.push(value),
                field::NODE_NAME => read.name = value,
                field::NODE_OP_TYPE => read.op_type = value,
                field::NODE_DOMAIN => read.domain = value,
                field::NODE_ATTRIBUTE if attribute_name(value)? == b"epsilon" => read.epsilon = Some(value),
                _ => {}
            }
        }
        Some(read)
    }
}

/// What to have in the place of a node, in order; `None` where it may stay.
fn quicker_nodes(node: &Node<'_>) -> Option<[Vec<u8>; 2]> {
    let Node { inputs, outputs, name, op_type, domain, epsilon } = node;
    if *op_type != SLOW || *domain != SLOW_DOMAIN {
        return None;
    }
    // Input, skip, gamma, and where there are any, beta and the bias of the input. Outputs after the first are the mean, its
    // spread and the sum, which nothing in a network at work asks for.
    let ([x, skip, gamma, rest @ ..], [normalised]) = (&inputs[..], &outputs[..]) else { return None };
    let sum = [normalised, &b".sum"[..]].concat();
    let given = |index| rest.get(index).copied().filter(|name: &&[u8]| !name.is_empty());
    let (beta, bias) = (given(0), given(1));

    let mut add = Vec::new();
    for input in [Some(*x), Some(*skip), bias].into_iter().flatten() {
        put(&mut add, field::NODE_INPUT, input);
    }
    put(&mut add, field::NODE_OUTPUT, &sum);
    put(&mut add, field::NODE_NAME, &[*name, b".sum"].concat());
    put(&mut add, field::NODE_OP_TYPE, b"Sum");

    let mut normalise = Vec::new();
    for input in [Some(&sum[..]), Some(*gamma), beta].into_iter().flatten() {
        put(&mut normalise, field::NODE_INPUT, input);
    }
    put(&mut normalise, field::NODE_OUTPUT, normalised);
    put(&mut normalise, field::NODE_NAME, name);
    put(&mut normalise, field::NODE_OP_TYPE, b"LayerNormalization");
    // Its axis is the last one unless said.
    put(&mut normalise, field::NODE_ATTRIBUTE, epsilon.unwrap_or(SLOW_EPSILON));
    Some([add, normalise])
}

fn attribute_name(attribute: &[u8]) -> Option<&[u8]> {
    for part in Fields::of(attribute, 0..attribute.len()) {
        let Field { number, value, .. } = part?;
        if let (field::ATTRIBUTE_NAME, Some(value)) = (number, value) {
            return Some(&attribute[value]);
        }
    }
    Some(b"")
}

/// One field of a message, by places in the bytes that it is part of.
#[derive(Debug)]
struct Field {
    number: u64,
    /// Its value, for fields of any length; `None` for numbers.
    value: Option<Range<usize>>,
    /// All of it.
    whole: Range<usize>,
}

/// The fields of a message, in order; `None` once, at the end, where it is no message.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    /// The fields of the message that is at `message` of `bytes`.
    fn of(bytes: &'a [u8], message: Range<usize>) -> Self {
        Self { bytes, at: message.start, end: message.end }
    }

    fn read(&mut self) -> Option<Field> {
        let start = self.at;
        let key = self.varint()?;
        let value = match key & 7 {
            0 => self.varint().map(|_| None)?,
            1 => self.skip(8).map(|_| None)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Some(self.skip(length)?)
            }
            5 => self.skip(4).map(|_| None)?,
            _ => return None,
        };
        Some(Field { number: key >> 3, value, whole: start..self.at })
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes[..self.end].get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, length: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.end)?;
        Some(std::mem::replace(&mut self.at, end)..end)
    }
}

impl Iterator for Fields<'_> {
    type Item = Option<Field>;

    fn next(&mut self) -> Option<Option<Field>> {
        if self.at >= self.end {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.at = self.end;
        }
        Some(field)
    }
}

/// Appends a field of any length.
fn put(message: &mut Vec<u8>, number: u64, value: &[u8]) {
    put_varint(message, number << 3 | 2);
    put_varint(message, value.len() as u64);
    message.extend_from_slice(value);
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return message.push(low);
        }
        message.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(fields: &[(u64, &[u8])]) -> Vec<u8> {
        let mut message = Vec::new();
        for &(number, value) in fields {
            put(&mut message, number, value);
        }
        message
    }

    fn node(inputs: &[&str], output: &str, op_type: &str, domain: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut fields: Vec<(u64, &[u8])> = inputs.iter().map(|name| (1, name.as_bytes())).collect();
        fields.extend([(2, output.as_bytes()), (3, b"n"), (4, op_type.as_bytes())]);
        fields.extend(attributes.iter().map(|attribute| (5, &attribute[..])));
        fields.push((7, domain.as_bytes()));
        message(&fields)
    }

    fn epsilon(value: f32) -> Vec<u8> {
        let mut attribute = message(&[(1, b"epsilon")]);
        attribute.push(2 << 3 | 5);
        attribute.extend(value.to_le_bytes());
        attribute.extend([0xa0, 1, 1]);
        attribute
    }

    /// A model of these nodes and tensors, with numbers before and after the graph.
    fn model(nodes: &[Vec<u8>], tensors: &[Vec<u8>]) -> Vec<u8> {
        let mut fields: Vec<(u64, &[u8])> = nodes.iter().map(|node| (1, &node[..])).collect();
        fields.push((2, b"graph"));
        fields.extend(tensors.iter().map(|tensor| (5, &tensor[..])));
        let graph = message(&fields);
        let mut model = vec![1 << 3, 9];
        put(&mut model, 7, &graph);
        put(&mut model, 8, b"\x10\x11");
        model
    }

    /// Inputs, outputs, kind and attributes.
    type Node = (Vec<String>, Vec<String>, String, Vec<u8>);

    fn nodes_of(model: &[u8]) -> Vec<Node> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a name");
        let read = |message: &[u8]| -> Vec<(u64, Vec<u8>)> {
            let fields = Fields::of(message, 0..message.len()).map(|field| field.expect("a message"));
            fields.filter_map(|field| Some((field.number, message[field.value?].to_vec()))).collect()
        };
        let graph = read(model).into_iter().find(|(number, _)| *number == 7).expect("a graph").1;
        let nodes = read(&graph).into_iter().filter(|(number, _)| *number == 1);
        nodes
            .map(|(_, node)| {
                let all = |wanted| {
                    read(&node)
                        .into_iter()
                        .filter(move |(number, _)| *number == wanted)
                        .map(|(_, value)| value)
                };
                let names = |wanted| all(wanted).map(|name| text(&name)).collect::<Vec<_>>();
                (names(1), names(2), names(4).concat(), all(5).collect::<Vec<_>>().concat())
            })
            .collect()
    }

    #[test]
    fn a_slow_node_becomes_two_fast_ones() {
        let before = node(&["a"], "x", "Gelu", "com.microsoft", &[]);
        let slow =
            node(&["x", "s", "g", "b"], "y", "SkipLayerNormalization", "com.microsoft", &[epsilon(1.0)]);
        let bare = node(&["x", "s", "g", "", "c"], "z", "SkipLayerNormalization", "com.microsoft", &[]);
        let mut rewritten = model(&[before, slow, bare], &[message(&[(9, b"data")])]);
        assert!(rewrite(&mut rewritten), "it has some");
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = [
            (names(&["a"]), names(&["x"]), "Gelu".to_owned(), Vec::new()),
            (names(&["x", "s"]), names(&["y.sum"]), "Sum".to_owned(), Vec::new()),
            (names(&["y.sum", "g", "b"]), names(&["y"]), "LayerNormalization".to_owned(), epsilon(1.0)),
            (names(&["x", "s", "c"]), names(&["z.sum"]), "Sum".to_owned(), Vec::new()),
            (names(&["z.sum", "g"]), names(&["z"]), "LayerNormalization".to_owned(), epsilon(1e-12)),
        ];
        assert_eq!(nodes_of(&rewritten), expected);
        assert!(
            rewritten.starts_with(&[1 << 3, 9]) && rewritten.ends_with(b"\x10\x11"),
            "the rest is as it was"
        );
        assert!(!rewrite(&mut rewritten), "there is nothing left to do");
    }

    #[test]
    fn others_stay_as_they_are() {
        let slow = |domain| node(&["x", "s", "g"], "y", "SkipLayerNormalization", domain, &[]);
        assert!(!rewrite(&mut model(&[slow("org.example")], &[])), "another's operator of that name");
        let mut with_sum = slow("com.microsoft");
        for output in ["", "", "sum"] {
            put(&mut with_sum, field::NODE_OUTPUT, output.as_bytes());
        }
        assert!(!rewrite(&mut model(&[with_sum], &[])), "somebody wants the sum");
        let external = message(&[(13, b"location"), (9, b"")]);
        assert!(!rewrite(&mut model(&[slow("com.microsoft")], &[external])), "tensors beside the file");
        assert!(!rewrite(&mut b"this is no network".to_vec()));
        assert!(!rewrite(&mut Vec::new()));
    }

    /// A tensor of one float, in the field of that number.
    fn scalar(name: &str, field: u64, value: f32) -> Vec<u8> {
        let mut tensor = vec![2 << 3, 1];
        put(&mut tensor, 8, name.as_bytes());
        put(&mut tensor, field, &value.to_le_bytes());
        tensor
    }

    #[test]
    fn masked_scores_are_as_near_as_possible() {
        let choose = |mask| node(&["seen", "zero", mask], "bias", "Where", "", &[]);
        for field in [field::TENSOR_FLOATS, field::TENSOR_BYTES] {
            let before =
                [scalar("zero", field, 0.0), scalar("far", field, -1e4), scalar("other", field, -1e4)];
            let after =
                [scalar("zero", field, 0.0), scalar("far", field, -50.0), scalar("other", field, -1e4)];
            let mut rewritten = model(&[choose("far")], &before);
            assert!(rewrite(&mut rewritten), "it has one");
            assert_eq!(rewritten, model(&[choose("far")], &after));
            assert!(!rewrite(&mut rewritten), "there is nothing left to do");
        }
        let far = |name| scalar(name, field::TENSOR_BYTES, -1e4);
        let reader = node(&["x", "far"], "y", "Add", "", &[]);
        assert!(
            !rewrite(&mut model(&[choose("far"), reader], &[far("far")])),
            "it is a number for others too"
        );
        let seen = node(&["seen", "far", "zero"], "bias", "Where", "", &[]);
        assert!(!rewrite(&mut model(&[seen], &[far("far")])), "it is what is seen that gets it");
        assert!(!rewrite(&mut model(&[choose("far")], &[scalar("far", 9, -1e9)])), "somebody else's number");
    }

    #[test]
    fn both_rewrites_are_done_together() {
        let slow = node(&["x", "s", "g"], "y", "SkipLayerNormalization", "com.microsoft", &[]);
        let choose = node(&["seen", "zero", "far"], "bias", "Where", "", &[]);
        let tensors = |mask| [scalar("far", 9, mask), message(&[(8, b"g"), (9, b"data")])];
        let mut both = model(&[slow.clone(), choose.clone()], &tensors(-1e4));
        let mut one = model(&[slow, choose], &tensors(-50.0));
        assert!(rewrite(&mut both) && rewrite(&mut one));
        assert_eq!(both, one);
    }

    proptest! {
        #[test]
        fn broken_networks_stay_as_they_are(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            cut in 0_usize..300,
            change in (0_usize..300, any::<u8>()),
        ) {
            rewrite(&mut bytes);
            let slow = node(&["x", "s", "g"], "y", "SkipLayerNormalization", "com.microsoft", &[epsilon(1.0)]);
            let mut model = model(&[slow], &[]);
            model.truncate(cut);
            if let Some(byte) = model.get_mut(change.0) {
                *byte = change.1;
            }
            rewrite(&mut model);
        }
    }
}
