"""RoutedLLM: the model that CrewAI sees on a seat. Behind it, any expert may answer."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from threading import Lock
from typing import Any, Final, Literal, cast
from weakref import WeakValueDictionary

from crewai.agents.agent_builder import base_agent
from crewai.llms.base_llm import BaseLLM, llm_call_context
from crewai.utilities.types import LLMMessage
from pydantic import BaseModel, PrivateAttr

from crew_moe.crew import events
from crew_moe.crew.call import LLMCall, openai_tools, parse_answer
from crew_moe.crew.current import dispatcher_now
from crew_moe.crew.dispatcher import Dispatcher, Served, Step
from crew_moe.crew.models import AUTO
from crew_moe.crew.seat import Seat, SeatKind
from crew_moe.crew.tokens import usage_fields
from crew_moe.domain.chat import ChatReply
from crew_moe.domain.expert import Capability
from crew_moe.domain.usage import Usage
from crew_moe.errors import CrewMoEError, ExecutionFailed
from crew_moe.execution.route import Answer, AnswerChunk
from crew_moe.routing.features import estimate_tokens

USABLE_WINDOW: Final = 0.85  # the share of a context window that CrewAI fills before it shortens a conversation
SEAT_ID: Final = "crew_moe_seat"
COUNTED_BY_AGENTS: Final = frozenset({SeatKind.AGENT, SeatKind.MANAGER})
_SEATS: Final[WeakValueDictionary[str, Seat]] = WeakValueDictionary()

Outcome = Answer | ExecutionFailed


class RoutedLLM(BaseLLM):
    """One seat's model. Each call is served by the expert that the router assigned to this seat for the task at hand.

    It is made by `attach` or `AgentFactory`, one per seat, so that CrewAI's sums over agents count every token once.
    CrewAI copies and rebuilds models through plain dictionaries that keep the fields of BaseLLM alone; the id of the
    seat among its `additional_params` finds the seat again (in this process).
    """

    llm_type: Literal["crew_moe"] = "crew_moe"
    _seat: Seat | None = PrivateAttr(default=None)
    _lock: Lock = PrivateAttr(default_factory=Lock)

    @classmethod
    def on(cls, seat: Seat, **fields: Any) -> RoutedLLM:
        """The model of `seat`."""
        _SEATS[seat.seat_id] = seat
        sampling = seat.sampling
        kept = {"temperature": sampling.temperature, "max_tokens": sampling.max_tokens, "seed": sampling.seed}
        return cls(
            model=AUTO,
            provider="openai",
            stop=list(sampling.stop),
            additional_params={SEAT_ID: seat.seat_id},
            **kept,
            **fields,
        )

    def model_post_init(self, context: Any, /) -> None:
        """Find the seat; a model that was restored from another process has none until its crew is attached."""
        super().model_post_init(context)
        self._seat = _SEATS.get(self.additional_params.get(SEAT_ID, ""))

    def __copy__(self) -> RoutedLLM:
        """A model on the same seat with counters of its own: what a copy does is not counted twice."""
        return RoutedLLM.on(self.seat, stream=self.stream)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> RoutedLLM:
        return self.__copy__()

    @property
    def is_seated(self) -> bool:
        return self._seat is not None

    @property
    def seat(self) -> Seat:
        """The seat; raises CrewMoEError for a restored model whose crew was not attached again."""
        if self._seat is None:
            raise CrewMoEError("this routed model has no seat in this process: attach its crew again")
        return self._seat

    @property
    def dispatcher(self) -> Dispatcher:
        """Crews may share an agent: that of the one at work here, if the agent is a member; else the seat's own."""
        here = dispatcher_now()
        return here if here is not None and self.seat.agent in here.members else self.seat.dispatcher

    def call(
        self,
        messages: str | list[Any],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: type[BaseModel] | None = None,
    ) -> Any:
        """Answer as CrewAI's models do: text, a list of tool calls, or an instance of `response_model`."""
        del callbacks
        with llm_call_context():
            call = self._open(messages, tools, available_functions, from_task, from_agent, response_model)
            try:
                self._invoke_before_llm_call_hooks(cast(list[LLMMessage], call.messages), from_agent)
                served = self._drive(call)
            except BaseException as error:
                events.failed(self, call, error)
                raise
            return self._close(call, served)

    async def acall(
        self,
        messages: str | list[Any],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: type[BaseModel] | None = None,
    ) -> Any:
        """`call`, without blocking the event loop."""
        del callbacks
        with llm_call_context():
            call = self._open(messages, tools, available_functions, from_task, from_agent, response_model)
            try:
                self._invoke_before_llm_call_hooks(cast(list[LLMMessage], call.messages), from_agent)
                served = await self._adrive(call)
            except BaseException as error:
                events.failed(self, call, error)
                raise
            return self._close(call, served)

    def _open(
        self,
        messages: str | list[Any],
        tools: list[dict[str, Any]] | None,
        functions: dict[str, Any] | None,
        from_task: Any,
        from_agent: Any,
        response_model: type[BaseModel] | None,
    ) -> LLMCall:
        call = LLMCall(
            messages=self._format_messages(messages),
            tools=openai_tools(tools),
            available_functions=functions or {},
            response_model=response_model,
            from_task=from_task,
            from_agent=from_agent,
            stream=bool(self._effective_stream()),
            stop=tuple(self.stop_sequences),
            sampling=self.seat.sampling,
        )
        events.started(self, call)
        return call

    def _drive(self, call: LLMCall) -> Served:
        """Take the steps one after the other, each told how the last one went."""
        with closing(self._steps(call)) as steps:
            try:
                step = next(steps)
                while True:
                    step = steps.send(self._attempt(step, call))
            except StopIteration as done:
                return _result(done)

    async def _adrive(self, call: LLMCall) -> Served:
        with closing(self._steps(call)) as steps:
            try:
                step = next(steps)
                while True:
                    step = steps.send(await self._aattempt(step, call))
            except StopIteration as done:
                return _result(done)

    def _steps(self, call: LLMCall) -> Generator[Step, Outcome, Served]:
        return self.dispatcher.serve(self.seat, call)

    def _attempt(self, step: Step, call: LLMCall) -> Outcome:
        executor = self.dispatcher.router.executor
        try:
            if not call.stream:
                return executor.run(step.route, step.chat)
            stream = cast(Generator[AnswerChunk, None, None], executor.stream(step.route, step.chat))
            with closing(stream) as parts:
                for part in parts:
                    text = step.restorer.feed(part.text) if part.answer is None else step.restorer.finish()
                    if text:
                        events.chunk(self, call, text)
                    if part.answer is not None:
                        return part.answer
        except ExecutionFailed as failure:
            return failure
        raise RuntimeError("the executor's stream has no end")

    async def _aattempt(self, step: Step, call: LLMCall) -> Outcome:
        executor = self.dispatcher.router.executor
        try:
            if not call.stream:
                return await executor.arun(step.route, step.chat)
            stream = cast(AsyncGenerator[AnswerChunk, None], executor.astream(step.route, step.chat))
            async with aclosing(stream) as parts:
                async for part in parts:
                    text = step.restorer.feed(part.text) if part.answer is None else step.restorer.finish()
                    if text:
                        events.chunk(self, call, text)
                    if part.answer is not None:
                        return part.answer
        except ExecutionFailed as failure:
            return failure
        raise RuntimeError("the executor's stream has no end")

    def _close(self, call: LLMCall, served: Served) -> Any:
        """Count the tokens, tell CrewAI, and give the answer the form that was asked for."""
        self._count(served.usage)
        reply = served.reply
        if reply.tool_calls and call.available_functions:
            # CrewAI's own way of running the tool emits the end of the call itself.
            result = self._run_tool(call, reply)
            if result is not None:
                return result
        answer: Any = list(reply.tool_calls) or reply.text
        if call.response_model is not None and not reply.tool_calls:
            answer = parse_answer(reply.text, call.response_model)
        events.completed(self, call, answer, expert_id=served.expert_id, usage=served.usage, reply=reply)
        if isinstance(answer, str):
            return self._invoke_after_llm_call_hooks(cast(list[LLMMessage], call.messages), answer, call.from_agent)
        return answer

    def _run_tool(self, call: LLMCall, reply: ChatReply) -> Any:
        function = reply.tool_calls[0].get("function", {})
        try:
            arguments = json.loads(function.get("arguments") or "{}")
        except ValueError:
            arguments = {}
        return self._handle_tool_execution(
            function_name=function.get("name", ""),
            function_args=arguments,
            available_functions=dict(call.available_functions),
            from_task=call.from_task,
            from_agent=call.from_agent,
        )

    def _count(self, usage: Usage) -> None:
        """To this model's counters; those of the crew's own seats also to the crew that works in this context."""
        with self._lock:
            for name, tokens in usage_fields(usage).items():
                self._token_usage[name] += tokens
            self._token_usage["successful_requests"] += 1
        if self.seat.kind not in COUNTED_BY_AGENTS:
            (dispatcher_now() or self.seat.dispatcher).shared.add(usage)

    def supports_function_calling(self) -> bool:
        """Whether some expert that may serve this seat takes tools; if not, CrewAI describes tools in the text."""
        return any(Capability.TOOLS in expert.capabilities for expert in self.dispatcher.possible(self.seat))

    def supports_multimodal(self) -> bool:
        """Whether some expert that may serve this seat sees images."""
        return any(Capability.VISION in expert.capabilities for expert in self.dispatcher.possible(self.seat))

    def supports_stop_words(self) -> bool:
        """Always: where a model takes none, the answer is cut on this side."""
        return True

    def get_context_window_size(self) -> int:
        """Tokens of the widest expert that may serve this seat, less CrewAI's own reserve."""
        widest = max((expert.context_window for expert in self.dispatcher.possible(self.seat)), default=0)
        return int(widest * USABLE_WINDOW)

    def get_input_tokens_count(
        self, messages: str | list[Any], tools: list[Any] | None = None, response_model: type[BaseModel] | None = None
    ) -> int:
        """Estimated tokens of a request."""
        del response_model
        if isinstance(messages, str):
            return estimate_tokens(messages)
        return LLMCall(messages=messages, tools=openai_tools(tools)).input_tokens


def _result(done: StopIteration) -> Served:
    served: Served = done.value
    return served


# CrewAI rebuilds the models of a copied crew from plain dictionaries by this table; it has no public way in.
base_agent._LLM_TYPE_REGISTRY["crew_moe"] = f"{RoutedLLM.__module__}.{RoutedLLM.__qualname__}"
