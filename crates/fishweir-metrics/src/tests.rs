use super::{LoadError, load};

const GOOD: &str = "name: a
title: A
description: Counts a.
audience: [operational]
question: How many?
action: Look.
owner: me
type: simple
agg: sum
from: request_days
expr: requests
unit: requests
direction: neutral
grains: [day]
since: \"0.1\"
";

fn error(texts: &[&str]) -> String {
    let files: Vec<(String, String)> =
        texts.iter().enumerate().map(|(i, t)| (format!("m{i}.yaml"), (*t).to_owned())).collect();
    match load(&files) {
        Ok(_) => String::new(),
        Err(e @ (LoadError::Yaml { .. } | LoadError::Key { .. })) => e.to_string(),
    }
}

#[test]
fn a_definition_that_is_whole_loads() {
    assert_eq!(error(&[GOOD]), "");
}

#[test]
fn what_is_wrong_is_named_with_file_line_and_cure() {
    let ratio = GOOD.replace("type: simple", "type: ratio");
    let loops =
        GOOD.replace("type: simple\nagg: sum", "type: derived").replace("expr: requests", "expr: a + 1");
    let cases: [(&str, &[&str]); 7] = [
        (&GOOD.replace("question: How many?", "question: ''"), &["m0.yaml", "line 5", "question"]),
        (&GOOD.replace("action: Look.\n", ""), &["m0.yaml", "action"]),
        (&GOOD.replace("owner: me", "owner: me\nhue: blue"), &["m0.yaml", "hue"]),
        (&GOOD.replace("agg: sum\n", ""), &["m0.yaml", "agg", "sum, count, max"]),
        (&ratio, &["m0.yaml", "numerator"]),
        (&GOOD.replace("audience: [operational]", "audience: [nobody]"), &["m0.yaml", "nobody"]),
        (&loops, &["made of each other", "a → a"]),
    ];
    for (text, parts) in cases {
        let e = error(&[text]);
        for part in parts {
            assert!(e.contains(part), "`{part}` is not in: {e}");
        }
    }
    let twice = error(&[GOOD, GOOD]);
    assert!(twice.contains("already defined in `m0.yaml`"), "{twice}");
}
