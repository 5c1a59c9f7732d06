//! `plot`: of a run that may be going on, in the terminal and as files.

use std::fs;

use crate::program::Place;

#[test]
fn a_run_is_drawn_even_with_a_torn_last_line() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    let mut text = String::from("{\"step\":0,\"eval_loss\":3.5}\n");
    for step in 1..=60 {
        let loss = 3.0 / f64::from(step);
        text.push_str(&format!(
            "{{\"step\":{step},\"loss\":{loss},\"learning_rate\":0.001,\"grad_norm\":null}}\n"
        ));
    }
    fs::write(place.path("run/metrics.jsonl"), text + "{\"step\":61,\"lo").unwrap();
    fs::write(place.path("run/run.toml"), "model = \"<m>\"\n").unwrap();
    let drawn = place.run(&["plot", "run"]);
    assert!(drawn.code == Some(0) && drawn.err.contains("torn"), "{}", drawn.err);
    assert!(drawn.out.contains("step 60") && drawn.out.contains('●'), "{}", drawn.out);
    for (file, begin) in [("a.png", &b"\x89PNG"[..]), ("a.svg", b"<svg"), ("a.html", b"<!doctype")]
    {
        assert_eq!(place.run(&["plot", "run", "--out", file]).code, Some(0), "{file}");
        assert!(place.bytes(file).starts_with(begin), "{file}");
    }
    let page = place.read("a.html");
    assert!(page.contains("<title>step 60: loss 0.050000</title>"), "{page}");
    assert!(page.contains("model = &quot;&lt;m&gt;&quot;"));
    assert!(!page.contains("src=") && !page.contains("<link"), "the page loads something");
    place.run(&["plot", "run", "--out", "a.gif"]).fails_saying(&["a.gif", ".png"]);
    place.run(&["plot", "no-such-run"]).fails_saying(&["no-such-run", "metrics.jsonl"]);
    fs::write(place.path("run/metrics.jsonl"), "").unwrap();
    place.run(&["plot", "run"]).fails_saying(&["metrics.jsonl", "loss"]);
}
