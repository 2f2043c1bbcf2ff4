//! A plugin that keeps trapping is taken out of service; one that answers with faults is not.

use std::time::Duration;

use bascule_plugin_host::PluginError;

use crate::support::*;

#[tokio::test]
async fn five_traps_in_a_row_take_a_plugin_out_of_service() {
    let (plugin, recorder) = loaded(guest(CLASSIFIER, &classifier("", "unreachable")));
    for _ in 0..5 {
        assert!(recorder.out_of_service.lock().is_empty());
        let error = plugin.classify(&context(), status(200), None).await.unwrap_err();
        assert!(matches!(error, PluginError::Trapped { .. }));
    }
    assert_eq!(*recorder.out_of_service.lock(), [plugin.id()]);
    let error = plugin.classify(&context(), status(200), None).await.unwrap_err();
    let PluginError::Unavailable { retry_after } = error else { panic!("{error:?}") };
    assert!(retry_after <= Duration::from_secs(10) && retry_after > Duration::from_secs(8));
    assert!(plugin.out_of_service().is_some());
    assert_eq!(recorder.calls.lock().last().unwrap().1, Some("unavailable"));
}

#[tokio::test]
async fn faults_and_bad_answers_never_do() {
    let mut image = Image::new();
    let (code, message) = (image.text("no_stock"), image.text("none left"));
    // result: err(fault { kind: conflict, code, message, none, none })
    let fault = image.words(&[1, 5, code[0], code[1], message[0], message[1], 0, 0, 0, 0, 0]);
    // result: ok(patch with one header that has a line break)
    let bad = image.headers(&[("x", b"")]);
    let value = image.text("a\r\nb: c");
    let name = image.text("x");
    let field = image.words(&[name[0], name[1], 0, value[0], value[1], 0, 0, 0, 0, 0, 0]);
    let injected = image.words(&[0, field, 1, bad[0], 0]);
    for (answer, kind) in [(fault, "fault"), (injected, "bad-answer")] {
        let wat = format!(
            r#"(module {RUNTIME} {}
              (func (export "bascule:plugin/signer@0.1.0#sign")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                (i32.const {answer})))"#,
            image.segment()
        );
        let (plugin, _) = loaded(guest("export bascule:plugin/signer@0.1.0;", &wat));
        assert!(plugin.out_of_service().is_none());
        for _ in 0..30 {
            let error = plugin.sign(&context(), get("/"), "host", None).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error:?}");
        }
    }
}

#[tokio::test]
async fn how_many_failures_it_takes_is_the_plugins_own() {
    let (plugin, _) = loaded_with(guest(CLASSIFIER, &classifier("", "unreachable")), |spec| {
        spec.limits.breaker.failures = 1;
        spec.limits.breaker.open = Duration::from_secs(60);
    });
    plugin.classify(&context(), status(200), None).await.unwrap_err();
    assert!(plugin.out_of_service().unwrap() > Duration::from_secs(10));
}
