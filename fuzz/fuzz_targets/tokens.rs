//! Tokenizers: the tokens of any text are in order and cover every requested span.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use sentor_engine::encode::Encoder;
use sentor_engine::registry::ModelFolder;
use sentor_text::language::Language;
use sentor_text::segment::sentences;

static ENCODERS: LazyLock<Vec<Encoder>> = LazyLock::new(|| {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let open = |name: &str| {
        let folder = ModelFolder::open(&models.join(name)).expect("the model folder is in the repository");
        Encoder::open(&folder).expect("its tokenizer is in order")
    };
    vec![open("sentor-en"), open("sentor-nl")]
});

libfuzzer_sys::fuzz_target!(|text: &str| {
    for encoder in &*ENCODERS {
        let spans = sentences(text, Language::English);
        let tokens = encoder.tokens(text, spans.iter().map(|span| span.end));
        let mut end = 0;
        for span in &spans {
            let covering = tokens.covering(*span);
            assert!(covering.start <= covering.end && covering.end <= tokens.len(), "{text:?}");
            assert!(covering.end >= end, "{text:?}");
            end = covering.end;
        }
        let (ids, is_cut) = encoder.entity_tokens(text, 8);
        assert!(ids.len() <= 8 && (!is_cut || ids.len() == 8), "{text:?}");
    }
});
