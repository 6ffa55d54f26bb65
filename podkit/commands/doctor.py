"""`doctor`: what needs attention."""

from __future__ import annotations

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.commands.result import Plain, Result
from podkit.errors import PodkitError


@command("doctor", json=True)
def doctor(app: App) -> Result:
    """Check key, volume, stock and pods; exit 0 only if nothing needs attention.

    \b
    Examples:
      ./podkit.sh doctor
    """
    from podkit.pods.doctor import examine

    settings, client = app.connect()
    findings = examine(client, settings, app.boots())
    troubles = []
    for finding in findings:
        if finding.fix:
            troubles.append({"what": finding.what, "fix": finding.fix})
            app.say(f"!!  {finding.what}\n    next: {finding.fix}")
        else:
            app.say(f"ok  {finding.what}")
    told = {"findings": [finding.what for finding in findings], "troubles": troubles}
    if troubles:
        count = len(troubles)
        what = "one finding needs" if count == 1 else f"{count} findings need"
        raise PodkitError(f"{what} attention", "what to do stands below each !!", **told)
    return Plain("", told)
