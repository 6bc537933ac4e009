"""`python -m flant5_train.forecast QUESTION`: prints the forecast as one JSON document.

QUESTION is a `flant5_train.protocol.forecast.ForecastRequest` as JSON.
Exit code 0: standard output is the forecast. Exit code 2: a file or the base model can't be used,
and standard output is a Failure (`flant5_train.protocol.failure`).
"""

import sys

from flant5_train.forecast.forecast import forecast
from flant5_train.process import die_with_parent, leave_the_cores_to_others
from flant5_train.protocol.failure import Failure, TrainingError
from flant5_train.protocol.forecast import ForecastRequest


def main(argv: list[str]) -> int:
    (question,) = argv
    try:
        result = forecast(ForecastRequest.model_validate_json(question))
    except TrainingError as error:
        failure = Failure(code=error.code, message=str(error))
        sys.stdout.write(failure.model_dump_json() + "\n")
        return 2
    sys.stdout.write(result.model_dump_json() + "\n")
    return 0


if __name__ == "__main__":
    die_with_parent()
    leave_the_cores_to_others()
    sys.exit(main(sys.argv[1:]))
