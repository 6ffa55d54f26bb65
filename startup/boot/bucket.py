"""The checkpoint from an S3 bucket: what `model publish` put there, by its manifest."""

from pathlib import Path

from pod_log import say

from boot.configuration import Configuration
from boot.failures import Fatal
from boot.hub import Growth, StandsStill
from boot.packages import install
from boot.phases import Phases
from boot.services import Services

NOT_THERE = "the bucket has no "
"""What fetch_s3.py says of a model that was never published."""


def fetch_from_bucket(
    services: Services, configuration: Configuration, phases: Phases, folder: Path
) -> bool:
    """Fills `folder`, each file's SHA-256 proven; False if the bucket does not have the model.

    Raises Fatal if that fails.
    """
    if not configuration.bucket:
        say("source s3: PODKIT_MODEL_BUCKET is not set")
        return False
    python = str(install(services, configuration, "s3") / "python")
    program = str(configuration.startup / "fetch_s3.py")
    name = configuration.model.folder_name
    growth = Growth(configuration, phases, folder)
    try:
        services.run("s3", [python, program, configuration.bucket, name, str(folder)], growth.tell)
    except StandsStill as error:
        raise Fatal("the bucket sends nothing any more", "deploy again") from error
    except Fatal as failure:
        if NOT_THERE not in failure.output:
            raise
        return False
    return True
