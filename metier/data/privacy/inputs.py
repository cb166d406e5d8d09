"""Personal data hidden in what a trained model is asked: the policy of its training, run again in prediction."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from metier.data.privacy.detectors import DetectorSettings, make_detector
from metier.data.privacy.hiding import key_id, stand_in_key
from metier.data.privacy.parts import texts_asked, with_texts_asked
from metier.data.privacy.policies import PolicySettings, Protection
from metier.data.privacy.saved import InputProtection
from metier.data.privacy.surrogates import StandIns
from metier.data.records import Input


class InputHiding:
    """Hides personal data in inputs, as it was hidden in the model's test rows."""

    def __init__(self, saved: InputProtection, environment: Mapping[str, str] = os.environ) -> None:
        """Load the detector.

        Args:
            saved: What lies beside the model.
            environment: Where the key of surrogates is looked for.

        Raises:
            MissingPackage: The detector needs a package that is not installed.
            ArgumentError: The key of surrogates is missing or too short.
        """
        looking = DetectorSettings(detector=saved.detector, kinds=saved.kinds, recognisers=saved.recognisers)
        settings = PolicySettings(policy=saved.policy, by_kind=saved.by_kind, scope=saved.scope)
        detector = make_detector(looking)
        key = stand_in_key(saved.key_env, environment) if "surrogate" in settings.policies else None
        self._protection = Protection(settings, detector, StandIns(key, saved.scope) if key is not None else None)
        notices = []
        if key is not None and key_id(key) != saved.key_id:
            notices.append(
                f"privacy.key_env: ${saved.key_env} holds another key than in training: the same value gets another "
                "surrogate"
            )
        if detector.version != saved.detector_version:
            notices.append(
                f"privacy.detector: {detector.name} has other rules (version {detector.version}) than in training "
                f"(version {saved.detector_version})"
            )
        self.notices = (*notices, *(f"personal data: {note}" for note in detector.notes if detector.name == "patterns"))
        """What a person should know, as sentences."""

    def inputs(self, given: Sequence[Input]) -> list[Input]:
        """Inputs without personal data, in their order.

        Args:
            given: After the repairs.
        """
        hidden = self._protection.hide([texts_asked(each) for each in given])
        return [
            with_texts_asked(each, after.parts) if after.replacements else each
            for each, after in zip(given, hidden, strict=True)
        ]

    def turns(self, said: Sequence[str]) -> tuple[str, ...]:
        """Everything that one person said in a conversation, without personal data.

        The whole of it at once: a name of the first turn is known in the third, and has the same surrogate there.

        Args:
            said: Turn by turn, as it was said.
        """
        return self._protection.hide([said])[0].parts
