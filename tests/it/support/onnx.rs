//! Writes small ONNX networks as protobuf.

/// ONNX codes of element types.
pub(crate) const FLOAT: u64 = 1;
pub(crate) const INT32: u64 = 6;
pub(crate) const INT64: u64 = 7;

/// An input or output: its name, element type, and dimensions; a negative one is dynamic.
pub(crate) type Outlet<'a> = (&'a str, u64, &'a [i64]);

/// A tensor in the network.
pub(crate) enum Constant<'a> {
    Floats(&'a str, &'a [u64], Vec<f32>),
    Integers(&'a str, &'a [u64], Vec<i64>),
}

/// A node: operation, inputs, outputs, and integer attributes.
pub(crate) type Node<'a> = (&'a str, &'a [&'a str], &'a str, &'a [(&'a str, u64)]);

/// The bytes of a model file.
pub(crate) fn model(
    nodes: &[Node<'_>],
    constants: &[Constant<'_>],
    inputs: &[Outlet<'_>],
    outputs: &[Outlet<'_>],
) -> Vec<u8> {
    let mut graph = Message::default();
    for (kind, takes, gives, attributes) in nodes {
        let mut node = Message::default();
        for name in *takes {
            node.text(1, name);
        }
        node.text(2, gives);
        node.text(4, kind);
        for (name, value) in *attributes {
            let mut attribute = Message::default();
            attribute.text(1, name);
            attribute.number(3, *value);
            attribute.number(20, 2);
            node.message(5, &attribute);
        }
        graph.message(1, &node);
    }
    graph.text(2, "tiny");
    for constant in constants {
        graph.message(5, &tensor(constant));
    }
    for (field, outlets) in [(11, inputs), (12, outputs)] {
        for outlet in outlets {
            graph.message(field, &described(*outlet));
        }
    }
    let mut operators = Message::default();
    operators.text(1, "");
    operators.number(2, 17);
    let mut model = Message::default();
    model.number(1, 8);
    model.message(7, &graph);
    model.message(8, &operators);
    model.0
}

fn tensor(constant: &Constant<'_>) -> Message {
    let (name, dimensions, kind, bytes) = match constant {
        Constant::Floats(name, dimensions, values) => (
            name,
            dimensions,
            FLOAT,
            values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>(),
        ),
        Constant::Integers(name, dimensions, values) => {
            (name, dimensions, INT64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        }
    };
    let mut tensor = Message::default();
    for size in *dimensions {
        tensor.number(1, *size);
    }
    tensor.number(2, kind);
    tensor.text(8, name);
    tensor.bytes(9, &bytes);
    tensor
}

fn described((name, kind, dimensions): Outlet<'_>) -> Message {
    let mut shape = Message::default();
    for (index, &size) in dimensions.iter().enumerate() {
        let mut dimension = Message::default();
        match u64::try_from(size) {
            Ok(size) => dimension.number(1, size),
            Err(_) => dimension.text(2, &format!("{name}_{index}")),
        }
        shape.message(1, &dimension);
    }
    let mut tensor = Message::default();
    tensor.number(1, kind);
    tensor.message(2, &shape);
    let mut kind = Message::default();
    kind.message(1, &tensor);
    let mut outlet = Message::default();
    outlet.text(1, name);
    outlet.message(2, &kind);
    outlet
}

/// Fields of a protobuf message, one after another.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }

    fn varint(&mut self, mut value: u64) {
        // Seven bits a byte, the lowest first; the eighth is set if more follow.
        while value >= 128 {
            self.0.push(value.to_le_bytes()[0] | 128);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}
