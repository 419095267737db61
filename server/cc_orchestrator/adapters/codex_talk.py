"""What is said to a Codex thread while it works: the prompt, instructions, and what becomes of them. Pure.

`turn/steer` puts a text before the model with its next request; Codex tells by a userMessage item that it was read. One that
comes when the turn is over is refused, and begins a turn of its own.
"""

from __future__ import annotations

from cc_orchestrator.adapters import codex_protocol as protocol
from cc_orchestrator.adapters.base import Send
from cc_orchestrator.adapters.lines import Object
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.events import Fact

_STEER, _AGAIN, _OTHER = "steer:", "again:", "other:"


def instructed(control_id: str, chars: int, *, delivered: bool, how: str) -> Fact:
    """The fact of what became of an instruction."""
    return Fact(ev.RUN_INSTRUCTED, {"control_id": control_id, "chars": chars, "delivered": delivered, "how": how})


class Talk:
    """One thread's side of the talk. `active` while a turn runs or is about to."""

    def __init__(self) -> None:
        self._thread = self._turn = ""
        self._texts: dict[str, str] = {}  # instructions that were not read yet
        self._sent: set[str] = set()  # those of them whose answer is out
        self._said = 0
        self.active = self.interrupted = False

    @property
    def waits(self) -> bool:
        """Whether an answer to an instruction is still out."""
        return bool(self._sent)

    def begin(self, thread: str, prompt: str) -> list[Send]:
        """The prompt."""
        self._thread, self.active = thread, True
        return [self._start("prompt", prompt, "")]

    def _start(self, number: str, text: str, client_id: str) -> Send:
        params: Object = {"threadId": self._thread, "input": protocol.user_input(text)}
        if client_id:
            params["clientUserMessageId"] = client_id
        return protocol.request(number, "turn/start", params)

    def _steer(self, number: str, text: str, client_id: str) -> Send:
        params: Object = {"threadId": self._thread, "expectedTurnId": self._turn, "input": protocol.user_input(text)}
        if client_id:
            params["clientUserMessageId"] = client_id
        return protocol.request(number, "turn/steer", params)

    def started(self, turn: str) -> list[Send]:
        """The turn runs: what was said before it is sent now."""
        self._turn, self.active = turn, True
        return [self._send(control_id) for control_id in self._texts if control_id not in self._sent]

    def completed(self) -> None:
        """The turn is over."""
        self._turn, self.active = "", False

    def _send(self, control_id: str) -> Send:
        self._sent.add(control_id)
        return self._steer(_STEER + control_id, self._texts[control_id], control_id)

    def instruct(self, text: str, control_id: str) -> list[Send]:
        """An instruction; it waits for the turn when there is none yet."""
        self._texts[control_id] = text
        return [self._send(control_id)] if self._turn else []

    def say(self, text: str, what: str) -> list[Send]:
        """Something of ours, of which nobody keeps account; nothing when no turn runs."""
        if not self._turn:
            return []
        self._said += 1
        return [self._steer(f"{_OTHER}{what}-{self._said}", text, "")]

    def interrupt(self) -> list[Send]:
        """End the turn now."""
        if not self._turn:
            return []
        self.interrupted = True
        params: Object = {"threadId": self._thread, "turnId": self._turn}
        return [protocol.request(_OTHER + "interrupt", "turn/interrupt", params)]

    def responded(self, number: str, ok: bool) -> list[Fact]:
        """Codex took an instruction, or refused it because the turn is over; then it waits for `again`."""
        kind, mark, control_id = number.partition(":")
        text = self._texts.get(control_id)
        if kind + mark not in (_STEER, _AGAIN) or control_id not in self._sent:
            return []
        self._sent.discard(control_id)
        if text is None:
            return []
        if ok:
            how = "queued: it reads it before its next request"
            return [instructed(control_id, len(text), delivered=False, how=how)]
        if kind + mark == _STEER:
            return []
        # Not even a turn of its own would take it.
        del self._texts[control_id]
        self.active = False
        return [instructed(control_id, len(text), delivered=False, how="codex refused it")]

    def read(self, client_id: str) -> list[Fact]:
        """The model has it before it now."""
        text = self._texts.pop(client_id, None)
        if text is None:
            return []
        return [instructed(client_id, len(text), delivered=True, how="while it works")]

    def again(self) -> list[Send]:
        """A turn for the first instruction that no turn took; the others follow when it has started."""
        late = next((control_id for control_id in self._texts if control_id not in self._sent), None)
        if late is None:
            return []
        self.active = True
        self._sent.add(late)
        return [self._start(_AGAIN + late, self._texts[late], late)]

    def undelivered(self, how: str) -> list[Fact]:
        """Those that will never be read."""
        lost, self._texts = self._texts, {}
        self._sent.clear()
        return [instructed(control_id, len(text), delivered=False, how=how) for control_id, text in lost.items()]
