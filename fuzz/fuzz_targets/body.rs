//! The body of `POST /api/predicts`: any input is parsed, or rejected with a valid error.

#![no_main]

use std::sync::LazyLock;

use sentor::config::{Config, Environment, Overrides};
use serde_json::Value;

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    Config::load_in(&Overrides::default(), &Environment::default()).expect("the defaults are valid")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for partial in [false, true] {
        let Err(error) = sentor::http::read_predict_body(bytes, partial, &CONFIG.limits) else { continue };
        let body: Value = serde_json::from_slice(&error).expect("a error is JSON");
        match body["error"]["code"].as_str() {
            Some("bad_request") => {}
            Some("validation_error") => {
                let fields = body["error"]["details"]["fields"].as_array();
                assert!(fields.is_some_and(|fields| !fields.is_empty()), "{body}");
            }
            _ => panic!("{body}"),
        }
    }
});
