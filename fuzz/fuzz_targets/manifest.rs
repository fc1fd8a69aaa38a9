//! Manifests: an accepted one has room for a window and names files of its own folder only.

#![no_main]

use sentor_engine::registry::Manifest;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(manifest) = Manifest::parse(text) {
        assert!(
            manifest.window_tokens >= 16 && 2 * manifest.window_tokens <= manifest.max_tokens,
            "{manifest:?}"
        );
        assert!(manifest.files.keys().all(|name| !name.contains('/') && name != ".."), "{manifest:?}");
    }
});
