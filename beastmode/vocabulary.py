"""The closed vocabulary of failures: whose fault it is, what it means, what to do, who may try again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorType:
    """A kind of failure: whose fault the prefix says, what it means, what to do, and who may try again."""

    name: str
    meaning: str
    remedy: str
    retry: bool = False
    """Whether the same candidate may be asked again."""
    fallback: bool = True
    """Whether another candidate may be asked instead."""


_TYPES = (
    ErrorType(
        "caller_invalid_request",
        "the provider refused the request as malformed",
        "compare the request's fields with the provider's reference; other candidates will refuse it too",
        fallback=False,
    ),
    ErrorType(
        "caller_context_length",
        "the conversation is longer than the model's context",
        "shorten it, or set context_tokens of {candidate} in the catalogue so that such requests go elsewhere",
    ),
    ErrorType(
        "caller_cancelled",
        "the application cancelled the call",
        "nothing is wrong upstream; see who cancelled, or raise the application's own time limit",
        fallback=False,
    ),
    ErrorType(
        "caller_application_error",
        "the application's own code failed around the call",
        "see the exception's own traceback; the provider was not at fault",
        fallback=False,
    ),
    ErrorType(
        "policy_no_eligible_candidate",
        "every candidate was excluded by needs, context length, region, budget, deadline or a list",
        "do what the error says of each, or add a candidate that meets them all",
        fallback=False,
    ),
    ErrorType(
        "policy_content_filtered",
        "a content filter refused the request or the answer",
        "review the provider's content settings; a fallback would bypass a rule someone has set",
        fallback=False,
    ),
    ErrorType(
        "policy_budget_exceeded",
        "a budget set in the gateway is spent",
        "raise the budget in the gateway, or wait until it resets",
        fallback=False,
    ),
    ErrorType(
        "provider_connection_refused",
        "nothing listens at the address",
        "start the server at {host}, or correct base_url of {candidate}",
        retry=True,
    ),
    ErrorType(
        "provider_dns",
        "the host name does not resolve",
        "check the spelling of {host} in base_url of {candidate}, and this machine's name server",
        retry=True,
    ),
    ErrorType(
        "provider_tls",
        "the encrypted connection could not be set up",
        "check that {host} speaks https on that port, its certificate, and this machine's clock and CA bundle",
    ),
    ErrorType(
        "provider_connection_lost",
        "the connection broke before the answer was complete",
        "ask again; if it recurs, look at the proxy or load balancer before {host}",
        retry=True,
    ),
    ErrorType(
        "provider_timeout",
        "the provider did not answer in time",
        "raise the client's read timeout, or lower the load on {host}",
        retry=True,
    ),
    ErrorType(
        "provider_authentication",
        "the provider did not accept the key",
        "set {key} to a valid key for {host}",
    ),
    ErrorType(
        "provider_permission",
        "the key may not use this model",
        "grant the key in {key} access to {candidate} at {host}, or use another key",
    ),
    ErrorType(
        "provider_not_found",
        "the provider does not know the model or the path",
        "check model and base_url of {candidate}; GET the provider's /models lists what {host} serves",
    ),
    ErrorType(
        "provider_rate_limited",
        "too many requests or tokens in the provider's window",
        "wait {wait} before asking {host} again, or ask for a higher limit on the key in {key}",
        retry=True,
    ),
    ErrorType(
        "provider_quota_exceeded",
        "the account behind the key has no credit left",
        "top up the account behind {key}; asking again does not help",
    ),
    ErrorType(
        "provider_server_error",
        "the provider failed",
        "ask again after a moment; if it lasts, see the status page or the log of {host}",
        retry=True,
    ),
    ErrorType(
        "provider_bad_response",
        "the answer is not what the interface promises",
        "check that base_url of {candidate} points at an OpenAI-compatible interface (it mostly ends in /v1)",
    ),
    ErrorType(
        "provider_unknown",
        "the provider refused for a reason that has no name here",
        "read the provider's message; report it if it deserves a name",
    ),
    ErrorType(
        "router_process_ended",
        "the process ended before the call did",
        "look for a kill, an out-of-memory or a deployment at that moment",
    ),
    ErrorType(
        "router_error",
        "the router failed",
        "this is a defect of beastmode: report it with the traceback",
    ),
)

ERROR_TYPES: dict[str, ErrorType] = {kind.name: kind for kind in _TYPES}
