//! Sessions at work: tokens, text, stops, logits, sampling, snapshots.

use crate::host::*;
use pagelm::capi::*;
use std::ptr;

const PROMPT: &[u8] = b"Once upon a time";

fn params(change: impl FnOnce(&mut pagelm_session_params)) -> pagelm_session_params {
    let mut params = sized!(pagelm_session_params);
    change(&mut params);
    params
}

fn sampling(change: impl FnOnce(&mut pagelm_sampling)) -> pagelm_sampling {
    let mut sampling = sized!(pagelm_sampling);
    (sampling.temperature, sampling.flags) = (1.0, PAGELM_IGNORE_EOS);
    change(&mut sampling);
    sampling
}

/// Samples 40 tokens with these settings.
fn sampled(model: *const pagelm_model, settings: &pagelm_sampling) -> Vec<u32> {
    let live = session(model, ptr::null());
    assert_eq!(unsafe { pagelm_session_set_sampling(live.session, settings) }, PAGELM_OK);
    live.generate(PROMPT, 40, 0).0
}

#[test]
fn the_text_is_the_tokens_and_a_budget_changes_nothing() {
    let loaded = load(&bytes_model());
    let settings = sampling(|s| s.seed = 3);
    let want = sampled(loaded.model, &settings);
    assert_eq!(want.len(), 40);
    for (budget, n_batch) in [(0, 1), (1, 5), (3, 16), (1, 0)] {
        let live = session(loaded.model, &params(|p| p.n_batch = n_batch));
        assert_eq!(unsafe { pagelm_session_set_sampling(live.session, &settings) }, PAGELM_OK);
        let (ids, text) = live.generate(PROMPT, 40, budget);
        assert_eq!(ids, want);
        let spelled: Vec<u8> = ids.iter().filter(|id| **id >= 2).map(|id| (id - 2) as u8).collect();
        assert_eq!(text, spelled);
        let info = live.info();
        assert_eq!((info.n_ctx, info.n_generated, info.finish), (96, 40, PAGELM_FINISH_NOT));
        assert_eq!(info.n_past + info.n_queued, PROMPT.len() as u32 + 40);
    }
}

#[test]
fn a_seed_repeats_and_another_differs() {
    let loaded = load(&bytes_model());
    let of_seed = |seed| sampled(loaded.model, &sampling(|s| s.seed = seed));
    assert_eq!(of_seed(7), of_seed(7));
    assert_ne!(of_seed(7), of_seed(8));
    let narrow = sampled(loaded.model, &sampling(|s| (s.seed, s.top_k) = (7, 1)));
    let greedy = sampled(loaded.model, &sampling(|s| s.temperature = 0.0));
    assert_eq!(narrow, greedy, "top-k 1 is greedy");
    assert_ne!(narrow, of_seed(7));
}

#[test]
fn every_setting_reaches_the_sampler() {
    let loaded = load(&bytes_model());
    let plain = sampled(loaded.model, &sampling(|s| s.seed = 2));
    let changes: [fn(&mut pagelm_sampling); 8] = [
        |s| s.temperature = 2.0,
        |s| s.top_k = 3,
        |s| s.top_p = 0.3,
        |s| s.min_p = 0.3,
        |s| s.repetition_penalty = 3.0,
        |s| s.presence_penalty = 5.0,
        |s| s.frequency_penalty = 5.0,
        |s| (s.presence_penalty, s.penalty_last_n) = (5.0, 2),
    ];
    let mut seen = vec![plain];
    for (i, change) in changes.into_iter().enumerate() {
        let settings = sampling(|s| {
            s.seed = 2;
            change(s);
        });
        let ids = sampled(loaded.model, &settings);
        assert!(!seen.contains(&ids), "setting {i} does something of its own");
        seen.push(ids);
    }
}

#[test]
fn work_is_told_before_and_after() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    assert_eq!((live.info().work_left, live.info().work_done), (0, 0));
    assert_eq!(live.feed(PROMPT), PAGELM_OK);
    let left = live.info().work_left;
    assert!(left > 0);
    assert_eq!(unsafe { pagelm_session_eval(live.session, 0) }, PAGELM_OK);
    assert_eq!((live.info().work_left, live.info().work_done), (0, left));
}

#[test]
fn settings_out_of_range_change_nothing() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    let set =
        |settings: &pagelm_sampling| unsafe { pagelm_session_set_sampling(live.session, settings) };
    let changes: [fn(&mut pagelm_sampling); 8] = [
        |s| s.temperature = f32::NAN,
        |s| s.temperature = -1.0,
        |s| s.top_p = 1.5,
        |s| s.top_p = f32::NAN,
        |s| s.min_p = -0.5,
        |s| s.repetition_penalty = -1.0,
        |s| s.presence_penalty = f32::INFINITY,
        |s| s.flags = 2,
    ];
    for (i, change) in changes.into_iter().enumerate() {
        assert_eq!(set(&sampling(change)), PAGELM_ERROR_BAD_PARAM, "{i}");
        assert_eq!(live.last_error().0, PAGELM_ERROR_BAD_PARAM);
    }
    let greedy = session(loaded.model, ptr::null()).generate(PROMPT, 20, 0);
    assert_eq!(live.generate(PROMPT, 20, 0), greedy, "still greedy");
}

#[test]
fn a_bias_forbids_and_forces() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    let set = |ids: &[u32], bias: &[f32]| unsafe {
        pagelm_session_set_logit_bias(live.session, ids.as_ptr(), bias.as_ptr(), ids.len())
    };
    assert_eq!(set(&[100, 1], &[1e9, -1e9]), PAGELM_OK);
    assert_eq!(live.generate(PROMPT, 5, 0).0, [100; 5]);
    assert_eq!(set(&[], &[]), PAGELM_OK);
    assert_ne!(live.go_on(20, 0).0, [100; 20]);
    assert_eq!(set(&[258], &[0.0]), PAGELM_ERROR_BAD_TOKEN);
    assert_eq!(set(&[2], &[f32::NAN]), PAGELM_ERROR_BAD_PARAM);
    assert_eq!(set(&[2; 257], &[0.0; 257]), PAGELM_ERROR_FULL);
    assert_eq!(set(&[2; 256], &[0.0; 256]), PAGELM_OK);
}

/// Some sampled tokens and their text.
fn some_text(model: *const pagelm_model) -> (Vec<u32>, Vec<u8>) {
    let live = session(model, ptr::null());
    let settings = sampling(|s| s.seed = 11);
    assert_eq!(unsafe { pagelm_session_set_sampling(live.session, &settings) }, PAGELM_OK);
    let (ids, text) = live.generate(PROMPT, 40, 0);
    assert_eq!(text.len(), 40, "the seed gives a text without control tokens");
    (ids, text)
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let loaded = load(&bytes_model());
    let (_, text) = some_text(loaded.model);
    let live = session(loaded.model, ptr::null());
    let settings = sampling(|s| s.seed = 11);
    let stop = &text[20..23];
    let first = text.windows(3).position(|w| w == stop).unwrap();
    unsafe {
        assert_eq!(pagelm_session_set_sampling(live.session, &settings), PAGELM_OK);
        assert_eq!(pagelm_session_add_stop(live.session, b"never seen".as_ptr(), 10), PAGELM_OK);
        assert_eq!(pagelm_session_add_stop(live.session, stop.as_ptr(), 3), PAGELM_OK);
    }
    let (_, got) = live.generate(PROMPT, 40, 0);
    assert_eq!(got, text[..first]);
    assert_eq!(live.info().finish, PAGELM_FINISH_STOP_STRING);
    assert_eq!(live.run(0), PAGELM_FINISHED, "and stays so");
    assert_eq!(live.text(), b"");
}

#[test]
fn what_may_begin_a_stop_string_is_held_back_and_released_at_the_end() {
    let loaded = load(&bytes_model());
    let (_, text) = some_text(loaded.model);
    let live = session(loaded.model, ptr::null());
    let settings = sampling(|s| s.seed = 11);
    // Two bytes of the text, then one that does not follow.
    let stop = [text[9], text[10], text[11].wrapping_add(1)];
    unsafe {
        assert_eq!(pagelm_session_set_sampling(live.session, &settings), PAGELM_OK);
        assert_eq!(pagelm_session_add_stop(live.session, stop.as_ptr(), 3), PAGELM_OK);
    }
    let (_, mut got) = live.generate(PROMPT, 11, 0);
    assert_eq!(got, text[..9], "two bytes are held back");
    assert_eq!(unsafe { pagelm_session_finish(live.session) }, PAGELM_OK);
    got.extend(live.text());
    assert_eq!(got, text[..11]);
    got.extend(live.go_on(9, 0).1);
    assert_eq!(got, text[..20], "nothing twice, nothing lost");
    assert_eq!(live.info().finish, PAGELM_FINISH_NOT);
}

#[test]
fn stops_are_limited_checked_and_cleared() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    let add =
        |text: &[u8]| unsafe { pagelm_session_add_stop(live.session, text.as_ptr(), text.len()) };
    let add_token = |id| unsafe { pagelm_session_add_stop_token(live.session, id) };
    assert_eq!(add(b""), PAGELM_ERROR_BAD_PARAM);
    assert_eq!(add(&[b'x'; 513]), PAGELM_ERROR_FULL);
    assert_eq!(add(&[b'x'; 512]), PAGELM_OK);
    assert_eq!(add(b"y"), PAGELM_ERROR_FULL, "512 bytes together");
    assert_eq!(unsafe { pagelm_session_clear_stops(live.session) }, PAGELM_OK);
    (0..8).for_each(|i| assert_eq!(add(&[b'a' + i, 0xff]), PAGELM_OK));
    assert_eq!(add(b"z"), PAGELM_ERROR_FULL);
    assert_eq!(add_token(258), PAGELM_ERROR_BAD_TOKEN);
    (100..116).for_each(|id| assert_eq!(add_token(id), PAGELM_OK));
    assert_eq!(add_token(200), PAGELM_ERROR_FULL);
    assert_eq!(unsafe { pagelm_session_clear_stops(live.session) }, PAGELM_OK);
    assert_eq!(add_token(200), PAGELM_OK);
}

#[test]
fn a_stop_token_ends_the_text() {
    let loaded = load(&bytes_model());
    let (ids, text) = some_text(loaded.model);
    let live = session(loaded.model, ptr::null());
    let settings = sampling(|s| s.seed = 11);
    let first = ids.iter().position(|&id| id == ids[15]).unwrap();
    unsafe {
        assert_eq!(pagelm_session_set_sampling(live.session, &settings), PAGELM_OK);
        assert_eq!(pagelm_session_add_stop_token(live.session, ids[15]), PAGELM_OK);
    }
    assert_eq!(live.generate(PROMPT, 40, 0), (ids[..first].to_vec(), text[..first].to_vec()));
    assert_eq!(live.info().finish, PAGELM_FINISH_STOP_TOKEN);
    assert_eq!(live.token(), ids[15]);
    assert_eq!(live.feed(b"more"), PAGELM_OK, "feeding goes on after a finish");
    assert_eq!(live.info().finish, PAGELM_FINISH_NOT);
}

#[test]
fn a_full_context_stops_or_slides() {
    let loaded = load(&bytes_model());
    for (when_full, finish) in [
        (PAGELM_WHEN_FULL_STOP, PAGELM_FINISH_CONTEXT_FULL),
        (PAGELM_WHEN_FULL_SLIDE, PAGELM_FINISH_NOT),
    ] {
        let live = session(loaded.model, &params(|p| (p.n_ctx, p.when_full) = (24, when_full)));
        let settings = sampling(|s| s.seed = 1);
        assert_eq!(unsafe { pagelm_session_set_sampling(live.session, &settings) }, PAGELM_OK);
        let (ids, _) = live.generate(PROMPT, 60, 0);
        let info = live.info();
        assert_eq!(info.finish, finish);
        let want = if finish == PAGELM_FINISH_NOT { 60 } else { 24 - PROMPT.len() + 1 };
        assert_eq!(ids.len(), want);
        assert!(info.n_past <= 24);
    }
}

#[test]
fn prompts_that_do_not_fit_are_refused_and_change_nothing() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, &params(|p| (p.n_ctx, p.max_text) = (24, 50)));
    let feed_ids =
        |ids: &[u32]| unsafe { pagelm_session_feed_ids(live.session, ids.as_ptr(), ids.len()) };
    assert_eq!(live.run(0), PAGELM_TOKEN, "it begins with bos");
    assert_eq!(unsafe { pagelm_session_reset(live.session) }, PAGELM_OK);
    assert_eq!(live.feed(&[b'a'; 51]), PAGELM_ERROR_TEXT_TOO_LONG);
    assert!(live.last_error().1.contains("50 bytes"), "{}", live.last_error().1);
    assert_eq!(live.feed(&[b'a'; 25]), PAGELM_ERROR_PROMPT_TOO_LONG);
    assert!(live.last_error().1.contains("25 tokens"), "{}", live.last_error().1);
    assert_eq!(feed_ids(&[5; 25]), PAGELM_ERROR_PROMPT_TOO_LONG);
    assert_eq!(feed_ids(&[5, 6, 258]), PAGELM_ERROR_BAD_TOKEN);
    assert!(live.last_error().1.contains("258"), "{}", live.last_error().1);
    assert_eq!(
        unsafe { pagelm_session_feed_text(live.session, b"a".as_ptr(), 1, 4) },
        PAGELM_ERROR_BAD_PARAM
    );
    assert_eq!(live.info().n_queued, 0);
    assert_eq!(feed_ids(&[5; 24]), PAGELM_OK);
    assert_eq!(live.info().n_queued, 24);
    let ids_only = load(&file("gpt2/odd45.f16.gguf"));
    let live = session(ids_only.model, ptr::null());
    assert_eq!(live.feed(b"a"), PAGELM_ERROR_NO_TOKENIZER);
    assert_eq!(live.run(0), PAGELM_ERROR_NOTHING_FED);
    assert_eq!(live.last_error().0, PAGELM_ERROR_NOTHING_FED);
    assert_eq!(unsafe { pagelm_session_reset(live.session) }, PAGELM_OK);
    assert_eq!(live.last_error(), (PAGELM_OK, String::new()));
}

#[test]
fn a_loop_of_one_s_own_does_what_run_does() {
    let loaded = load(&bytes_model());
    let settings = sampling(|s| s.seed = 5);
    let want = sampled(loaded.model, &settings);
    let live = session(loaded.model, ptr::null());
    let (s, mut id) = (live.session, 0);
    assert_eq!(unsafe { pagelm_session_sample(s, &mut id) }, PAGELM_ERROR_NO_LOGITS);
    assert_eq!(unsafe { pagelm_session_set_sampling(s, &settings) }, PAGELM_OK);
    assert_eq!(live.feed(PROMPT), PAGELM_OK);
    for id_wanted in want {
        unsafe {
            while pagelm_session_eval(s, 1) == PAGELM_MORE {}
            assert_eq!(pagelm_session_sample(s, &mut id), PAGELM_TOKEN);
            assert_eq!((id, live.token()), (id_wanted, id_wanted));
        }
    }
    assert_eq!(unsafe { pagelm_session_accept(s, 258) }, PAGELM_ERROR_BAD_TOKEN);
    assert_eq!(unsafe { pagelm_session_accept(s, 100) }, PAGELM_TOKEN);
    assert_eq!((live.token(), live.text()), (100, b"b".to_vec()));
}

#[test]
fn logits_row_by_row_are_those_of_single_steps() {
    let loaded = load(&bytes_model());
    let ids: Vec<u32> = PROMPT.iter().map(|&b| u32::from(b) + 2).collect();
    let one = session(loaded.model, ptr::null());
    assert_eq!(one.logits(0), Err(PAGELM_ERROR_NO_LOGITS));
    let steps: Vec<Vec<u32>> = ids
        .iter()
        .map(|id| unsafe {
            assert_eq!(pagelm_session_feed_ids(one.session, id, 1), PAGELM_OK);
            assert_eq!(pagelm_session_eval(one.session, 0), PAGELM_OK);
            assert_eq!(one.logits(1), Err(PAGELM_ERROR_NO_LOGITS));
            bits(&one.logits(0).unwrap())
        })
        .collect();
    let all = session(loaded.model, &params(|p| (p.n_batch, p.flags) = (5, PAGELM_ALL_LOGITS)));
    assert_eq!(all.feed(PROMPT), PAGELM_OK);
    let mut rows = Vec::new();
    loop {
        let status = unsafe { pagelm_session_eval(all.session, 0) };
        let n = 5.min(ids.len() - rows.len());
        rows.extend((0..n).map(|row| bits(&all.logits(row).unwrap())));
        assert_eq!(all.logits(n), Err(PAGELM_ERROR_NO_LOGITS));
        if status == PAGELM_OK {
            break;
        }
        assert_eq!(status, PAGELM_MORE);
    }
    assert_eq!(rows, steps);
    assert_eq!(all.logits(usize::MAX), Err(PAGELM_ERROR_NO_LOGITS));
}

#[test]
fn top_logprobs_are_the_logits_own() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    let (mut ids, mut logprobs) = ([0u32; 259], [0f32; 259]);
    let (i, l) = (ids.as_mut_ptr(), logprobs.as_mut_ptr());
    let top = |n| unsafe { pagelm_session_top_logprobs(live.session, i, l, n) };
    assert_eq!(top(4), PAGELM_ERROR_NO_LOGITS);
    assert_eq!(live.feed(PROMPT), PAGELM_OK);
    assert_eq!(unsafe { pagelm_session_eval(live.session, 0) }, PAGELM_OK);
    assert_eq!(top(259), PAGELM_ERROR_BAD_PARAM);
    assert_eq!(top(258), PAGELM_OK);
    let logits = live.logits(0).unwrap();
    let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
    let (ids, logprobs) = (&ids[..258], &logprobs[..258]);
    let mut seen = ids.to_vec();
    seen.sort_unstable();
    assert_eq!(seen, (0..258).collect::<Vec<u32>>());
    assert!(logprobs.is_sorted_by(|a, b| a >= b));
    for (id, logprob) in ids.iter().zip(logprobs) {
        let want = f64::from(logits[*id as usize]) - sum.ln();
        assert!((f64::from(*logprob) - want).abs() < 1e-4, "{id}: {logprob} {want}");
    }
}

#[test]
fn reset_begins_anew() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    let settings = sampling(|s| s.seed = 9);
    assert_eq!(unsafe { pagelm_session_set_sampling(live.session, &settings) }, PAGELM_OK);
    let first = live.generate(PROMPT, 30, 0);
    assert_eq!(unsafe { pagelm_session_reset(live.session) }, PAGELM_OK);
    let info = live.info();
    assert_eq!((info.n_past, info.n_queued, info.n_generated, info.work_done), (0, 0, 0, 0));
    assert_eq!(unsafe { pagelm_session_token(live.session, &mut 0) }, PAGELM_ERROR_NO_LOGITS);
    assert_eq!(live.generate(PROMPT, 30, 0), first);
}

#[test]
fn a_snapshot_goes_on_in_another_session_and_at_another_address() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    let settings = sampling(|s| s.seed = 21);
    assert_eq!(unsafe { pagelm_session_set_sampling(live.session, &settings) }, PAGELM_OK);
    assert_eq!(unsafe { pagelm_session_add_stop(live.session, b"never".as_ptr(), 5) }, PAGELM_OK);
    live.generate(PROMPT, 17, 0);
    let snapshot = live.snapshot();
    let rest = live.go_on(20, 0);
    // Another copy of the model, another batch size: what counts is the same.
    let twin = load(&bytes_model());
    let other = session(twin.model, &params(|p| p.n_batch = 3));
    other.generate(b"something else", 9, 0);
    assert_eq!(other.restore(&snapshot), PAGELM_OK);
    assert_eq!(other.info().n_generated, 17);
    assert_eq!(other.go_on(20, 0), rest);
    assert_eq!(live.restore(&snapshot), PAGELM_OK, "and back in the first one");
    assert_eq!(live.go_on(20, 0), rest);
}

#[test]
fn a_snapshot_in_the_middle_of_a_prompt_loses_nothing() {
    let loaded = load(&bytes_model());
    let prompt = [PROMPT; 5].concat();
    let live = session(loaded.model, &params(|p| p.n_batch = 24));
    let want = session(loaded.model, ptr::null()).generate(&prompt, 10, 0);
    assert_eq!(live.feed(&prompt), PAGELM_OK);
    let mut cuts = 0;
    while unsafe { pagelm_session_eval(live.session, 1) } == PAGELM_MORE {
        let other = session(loaded.model, ptr::null());
        assert_eq!(other.restore(&live.snapshot()), PAGELM_OK);
        assert_eq!(other.go_on(10, 0), want);
        cuts += 1;
    }
    assert!(cuts >= 6, "{cuts}");
}

#[test]
fn snapshots_that_do_not_fit_are_refused_and_change_nothing() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    live.generate(PROMPT, 5, 0);
    let snapshot = live.snapshot();
    let short = session(loaded.model, &params(|p| p.n_ctx = 48));
    assert_eq!(short.restore(&snapshot), PAGELM_ERROR_BAD_SNAPSHOT);
    let other_model = load(&file("gpt2/odd45.f16.gguf"));
    let other = session(other_model.model, ptr::null());
    assert_eq!(other.restore(&snapshot), PAGELM_ERROR_BAD_SNAPSHOT);
    assert!(other.last_error().1.contains("another model"), "{}", other.last_error().1);
    for n in 0..snapshot.len() {
        assert_eq!(live.restore(&snapshot[..n]), PAGELM_ERROR_BAD_SNAPSHOT, "{n}");
    }
    let mut longer = snapshot.clone();
    longer.push(0);
    assert_eq!(live.restore(&longer), PAGELM_ERROR_BAD_SNAPSHOT);
    assert_eq!(live.snapshot(), snapshot, "the session is as it was");
    let (mut out, mut n) = (vec![DIRT; snapshot.len()], 7);
    let status = unsafe {
        let p = out.as_mut_ptr().cast();
        pagelm_session_snapshot(live.session, p, snapshot.len() - 1, &mut n)
    };
    assert_eq!((status, n), (PAGELM_ERROR_BUFFER_TOO_SMALL, 7));
    assert!(out.iter().all(|&b| b == DIRT));
}

#[test]
fn damaged_snapshots_are_refused_or_harmless() {
    let loaded = load(&bytes_model());
    let live = session(loaded.model, ptr::null());
    live.generate(PROMPT, 5, 0);
    let snapshot = live.snapshot();
    // Every byte of the part before the network's state, two ways.
    for at in 0..snapshot.len().min(1200) {
        for flip in [0x01, 0xff] {
            let mut bad = snapshot.clone();
            bad[at] ^= flip;
            let status = live.restore(&bad);
            assert!(status == PAGELM_OK || status == PAGELM_ERROR_BAD_SNAPSHOT, "{at}: {status}");
            for _ in 0..3 {
                let status = live.run(0);
                assert!(status >= -34, "{status}");
                live.text();
            }
        }
    }
    assert_eq!(live.restore(&snapshot), PAGELM_OK);
}

#[test]
fn sessions_of_one_model_do_not_disturb_each_other() {
    let loaded = load(&bytes_model());
    let want: Vec<_> =
        (0..3).map(|seed| sampled(loaded.model, &sampling(|s| s.seed = seed))).collect();
    let lives: Vec<Live> = (0..3).map(|_| session(loaded.model, ptr::null())).collect();
    let mut got = vec![Vec::new(); 3];
    for (seed, live) in lives.iter().enumerate() {
        let settings = sampling(|s| s.seed = seed as u64);
        assert_eq!(unsafe { pagelm_session_set_sampling(live.session, &settings) }, PAGELM_OK);
        assert_eq!(live.feed(PROMPT), PAGELM_OK);
    }
    for _ in 0..40 {
        for (live, ids) in lives.iter().zip(&mut got) {
            ids.extend(live.go_on(1, 0).0);
        }
    }
    assert_eq!(got, want);
}
