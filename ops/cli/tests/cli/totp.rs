use anyhow::Context as _;
use serde_json::json;

use crate::support::{Empty, PASSWORD, World};

const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_computed_and_checked_without_any_deployment() -> anyhow::Result<()> {
    let Empty { mut shell, _running } = Empty::start().await?;
    shell.environment.clear();
    let code = shell.run_with("totp code --secret-stdin --json", SECRET)?.json(0)?;
    let code = code["code"].as_str().context("code")?;
    let checked = shell.run(&format!("totp check {code} --secret {SECRET} --json"))?.json(0)?;
    assert_eq!(checked["result"], "accepted");
    let other = if code == "000000" { "000001" } else { "000000" };
    let refused = shell.run(&format!("totp check --secret {SECRET} {other} --json"))?;
    assert_eq!(refused.json(5)?["accepted"], false);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_an_enrolled_factor_is_checked_and_not_used_up() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    assert_eq!(
        world.shell.run("totp check 000000 --user ada@example.com --json")?.error(3)?.0,
        "factor_not_found"
    );

    let (_, tokens) = world.sign_in(PASSWORD).await?;
    let bearer = tokens["access_token"].as_str();
    let (status, enrolled) = world.post("/api/v1/mfa/totp", bearer, &json!({"label": "phone"})).await?;
    assert_eq!(status, 201, "{enrolled}");
    let (factor, secret) =
        (enrolled["factor_id"].as_str().context("id")?, enrolled["secret"].as_str().context("secret")?);
    let code = world.shell.run(&format!("totp code --secret {secret} --json"))?.json(0)?;
    let code = code["code"].as_str().context("code")?;

    let check = format!("totp check {code} --user ada@example.com --json");
    for _ in 0..2 {
        assert_eq!(world.shell.run(&check)?.json(0)?["accepted"], true);
    }
    let (status, answer) =
        world.post("/api/v1/mfa/totp/confirm", bearer, &json!({"factor_id": factor, "code": code})).await?;
    assert_eq!(status, 200, "{answer}");
    let used = world.shell.run(&format!("{check} --factor {factor}"))?.json(5)?;
    assert_eq!(used["result"], "used_before");

    let shown = world.shell.run("user show ada@example.com --json")?;
    assert_eq!(shown.json(0)?["factors"][0]["label"], "phone");
    assert_eq!(shown.json(0)?["recovery_codes_left"], 10);
    assert!(!shown.stdout.contains(secret));
    Ok(())
}
