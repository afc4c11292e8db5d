"""The demo's workload: it has no secret of ours, but a token of its own platform, a real issuer in a process of its own."""

from __future__ import annotations

from stage import Failed, Stage, tell

FINDINGS = 8
MAIN, FORK = "project:shop:branch:main", "project:shop:branch:fork"


def a_workload_logs_in(stage: Stage) -> None:
    outside = stage.outside
    outside.start()
    stage.operator("federation", "trust", "ci", "--issuer", outside.issuer)
    told = ("--auth", "federated", "--trusted-issuer", "ci", "--claim", f"sub={MAIN}")
    stage.operator("agent", "create", "deployer", "--resource", "my-api", "--scope", "read:data", *told)
    token = stage.folder / "platform.jwt"
    token.write_text(outside.token(sub=MAIN, aud=stage.issuer))
    as_deployer = {"WATCHWORD_ISSUER": stage.issuer, "WATCHWORD_FEDERATED_TOKEN_FILE": str(token)}
    status, _ = stage.agent("agent.py", "read:data", "GET", f"{stage.api}/note", **as_deployer)
    stage.check("deployer logs in with its platform's token (federated)", 200, status)
    token.write_text(outside.token(sub=FORK, aud=stage.issuer))
    _, said = stage.agent("agent.py", "read:data", "GET", f"{stage.api}/note", **as_deployer)
    stage.check("  a job of another branch does not", "invalid_grant", said.removeprefix("token: ").partition(":")[0])
    report = stage.operator("federation", "test", "--file", str(token), code=FINDINGS)
    rules = report.get("rules")
    if not isinstance(rules, list):
        raise Failed("the report names no rules")
    mismatch = rules[0]["mismatches"][0]
    tell(f"federation test: {mismatch['claim']} wanted {mismatch['wanted']}, found {mismatch['found']!r}")
    stage.check("  and the operator sees why", "sub", mismatch["claim"])
