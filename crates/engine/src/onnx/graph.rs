//! Rewrites networks for speed at load: replaces nodes that ONNX Runtime runs slowly by equivalent fast ones.
//!
//! `SkipLayerNormalization` adds two tensors and normalises the sum. It takes seven times as long as `Sum` and
//! `LayerNormalization` (version 1.31, 240 tokens of 384 channels: 407 µs against 56), a third of the time of older
//! models. Tools that optimise networks insert it, so users' own models have it too. ONNX Runtime would fuse `Add` and
//! `LayerNormalization` again, so `Sum` adds.
//!
//! `Softmax` of masked positions: with -10,000 added to their scores, the results are denormal numbers, which
//! processors compute many times more slowly, a twelfth of the time of a batch whose sequences differ by two or three
//! tokens. With -50 the result is 2e-22, which still changes no bit of a sum.
//!
//! A network is a message of Protocol Buffers (`onnx.proto` names the fields). Everything else is copied unchanged.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The source from which ONNX Runtime reads a network.
#[derive(Clone, Debug)]
pub enum NetworkSource {
    /// The unchanged file.
    File(PathBuf),
    /// The rewritten network.
    Memory(Arc<Vec<u8>>),
}

impl NetworkSource {
    /// Reads the network at `path`, and rewrites it if that makes it faster.
    ///
    /// # Errors
    ///
    /// If the file cannot be read. ONNX Runtime reports a file that is not a network.
    pub fn prepare(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        // With room for the additional nodes.
        let mut network = Vec::with_capacity(length + (64 << 10));
        file.read_to_end(&mut network)?;
        let is_rewritten = rewrite(&mut network);
        Ok(if is_rewritten { Self::Memory(Arc::new(network)) } else { Self::File(path.to_owned()) })
    }
}

/// The number added to the scores of masked positions, in exported networks and in rewritten ones.
const MASKED: [u8; 4] = (-10_000.0_f32).to_le_bytes();
const MASKED_NEARER: [u8; 4] = (-50.0_f32).to_le_bytes();

const SLOW: &[u8] = b"SkipLayerNormalization";
const SLOW_DOMAIN: &[u8] = b"com.microsoft";
/// Its default `epsilon`, 1e-12, as an attribute: name, float value, and the type code of a float. The default of
/// `LayerNormalization` is 1e-5.
const SLOW_EPSILON: &[u8] = b"\x0a\x07epsilon\x15\xcc\xbc\x8c\x2b\xa0\x01\x01";

/// Field numbers of the messages.
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

/// Rewrites a network in place. Returns whether there was anything to rewrite; a network that cannot be parsed is not
/// changed.
fn rewrite(network: &mut Vec<u8>) -> bool {
    match find_edits(network) {
        Some(edits) if !edits.is_empty() => {
            apply(network, &edits);
            true
        }
        _ => false,
    }
}

/// A replacement of a part of a network.
struct Edit {
    part: Range<usize>,
    new: Vec<u8>,
}

/// Returns the edits of a network, in order; `None` if it cannot be parsed.
fn find_edits(network: &[u8]) -> Option<Vec<Edit>> {
    let mut edits = Vec::new();
    for part in Fields::new(network, 0..network.len()) {
        let Field { number, value, whole } = part?;
        let Some(graph) = value.filter(|_| number == field::MODEL_GRAPH) else { continue };
        let before = edits.len();
        let masks = find_masks(network, graph.clone())?;
        for part in Fields::new(network, graph.clone()) {
            let Field { number, value, whole } = part?;
            let Some(place) = value else { continue };
            if number == field::GRAPH_INITIALIZER {
                let tensor = Tensor::read(network, place)?;
                if tensor.is_external {
                    // External data is found relative to the network's file, which a network in memory does not have.
                    return Some(Vec::new());
                }
                if let Some(part) = tensor.value.filter(|_| masks.contains(&tensor.name))
                    && network[part.clone()] == MASKED
                {
                    edits.push(Edit { part, new: MASKED_NEARER.to_vec() });
                }
            } else if number == field::GRAPH_NODE
                && let Some(nodes) = faster_nodes(&Node::read(network, place)?)
            {
                let mut new = Vec::new();
                for node in nodes {
                    put(&mut new, field::GRAPH_NODE, &node);
                }
                // It is shorter only if the node has a long description.
                if new.len() >= whole.len() {
                    edits.push(Edit { part: whole, new });
                }
            }
        }
        // The graph's field has its length.
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
    // A length may be written with more bytes than necessary, so an edit could be shorter.
    edits.iter().all(|edit| edit.new.len() >= edit.part.len()).then_some(edits)
}

/// Applies edits from the end to the start, in place: a second copy of a network would take as much memory as a server
/// at work. The edits must be in order and must not shorten anything.
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

/// The relevant fields of a tensor.
#[derive(Default)]
struct Tensor<'a> {
    name: &'a [u8],
    /// Place of its value, if it is a single number of four bytes.
    value: Option<Range<usize>>,
    /// Whether its data is in a separate file.
    is_external: bool,
}

impl<'a> Tensor<'a> {
    /// Parses the tensor at `tensor` of `network`; `None` if that fails.
    fn read(network: &'a [u8], tensor: Range<usize>) -> Option<Self> {
        let mut read = Self::default();
        for part in Fields::new(network, tensor) {
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

/// Returns the names of tensors that are only used as the "else" input of `Where`; `None` if the graph cannot be
/// parsed.
fn find_masks(network: &[u8], graph: Range<usize>) -> Option<Vec<&[u8]>> {
    let (mut masks, mut others) = (Vec::new(), Vec::new());
    for part in Fields::new(network, graph) {
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

/// The relevant fields of a node.
#[derive(Default)]
struct Node<'a> {
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a [u8]>,
    name: &'a [u8],
    op_type: &'a [u8],
    domain: &'a [u8],
    /// The whole attribute `epsilon`.
    epsilon: Option<&'a [u8]>,
}

impl<'a> Node<'a> {
    /// Parses the node at `node` of `network`; `None` if that fails.
    fn read(network: &'a [u8], node: Range<usize>) -> Option<Self> {
        let mut read = Self::default();
        for part in Fields::new(network, node) {
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

/// Returns the replacement of a node, in order; `None` if it stays.
fn faster_nodes(node: &Node<'_>) -> Option<[Vec<u8>; 2]> {
    let Node { inputs, outputs, name, op_type, domain, epsilon } = node;
    if *op_type != SLOW || *domain != SLOW_DOMAIN {
        return None;
    }
    // Inputs are input, skip, gamma, and optionally beta and the input's bias. Outputs after the first (mean,
    // deviation, sum) are not used in inference.
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
    // The default axis is the last one.
    put(&mut normalise, field::NODE_ATTRIBUTE, epsilon.unwrap_or(SLOW_EPSILON));
    Some([add, normalise])
}

fn attribute_name(attribute: &[u8]) -> Option<&[u8]> {
    for part in Fields::new(attribute, 0..attribute.len()) {
        let Field { number, value, .. } = part?;
        if let (field::ATTRIBUTE_NAME, Some(value)) = (number, value) {
            return Some(&attribute[value]);
        }
    }
    Some(b"")
}

/// A field of a message, as ranges of the surrounding bytes.
#[derive(Debug)]
struct Field {
    number: u64,
    /// Its value, for length-delimited fields; `None` for numbers.
    value: Option<Range<usize>>,
    /// The whole field, tag included.
    whole: Range<usize>,
}

/// Iterates over the fields of a message; ends with one `None` if the bytes are not a message.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    /// The fields of the message at `message` of `bytes`.
    fn new(bytes: &'a [u8], message: Range<usize>) -> Self {
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

/// Appends a length-delimited field.
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
            let fields = Fields::new(message, 0..message.len()).map(|field| field.expect("a message"));
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
