//! The example `g2p` and its models against PyPI g2p-en, word by word.
#![forbid(unsafe_code)]

#[path = "../examples/g2p.rs"]
#[allow(dead_code)]
mod example;

use std::path::Path;

/// In Q8_0 six of the words sound otherwise than in f32: two stresses, an
/// ending and three rare words. `tools/reference/rnn_check.py` shows that f32
/// agrees in all of them.
const OTHERWISE: [&str; 6] =
    ["cambridge", "fortnight", "jayvianna", "languidly", "silhouettes", "voluntary"];

#[test]
fn the_models_say_what_g2p_en_says() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/g2p");
    let lines: Vec<(&str, &str)> =
        include_str!("data/g2p/words.tsv").lines().map(|l| l.split_once('\t').unwrap()).collect();
    assert!(lines.len() >= 500);
    let mut told = lines.iter();
    let words = lines.iter().map(|(word, _)| Ok((*word).to_owned()));
    example::say(&models, words, |word, sound| {
        let (asked, want) = told.next().unwrap();
        assert_eq!(word, *asked);
        assert_eq!(sound == *want, !OTHERWISE.contains(&word), "{word}: {sound} for {want}");
        Ok(())
    })
    .unwrap();
    assert!(told.next().is_none());
}
