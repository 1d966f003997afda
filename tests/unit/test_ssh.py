"""Canary: the corners of paramiko that edgekit leans on. A failure here says what moved."""

import inspect
from typing import Any

import paramiko
import pytest

from edgekit.transport.ssh import CIPHERS

pytestmark = pytest.mark.unit


def test_private_corners_are_where_they_were() -> None:
    transport: Any = paramiko.Transport
    agent: Any = paramiko.agent.AgentSSH
    assert "data" in inspect.signature(transport._send_user_message).parameters
    assert "conn" in inspect.signature(agent._connect).parameters
    for name in ("exit_status", "status_event", "remote_chanid", "closed"):
        assert name in inspect.getsource(paramiko.Channel)
    assert "initial_kex_done" in inspect.getsource(paramiko.Transport)
    assert paramiko.common.cMSG_CHANNEL_REQUEST == b"\x62"


def test_the_fast_ciphers_are_there() -> None:
    transport: Any = paramiko.Transport
    assert set(CIPHERS) <= set(transport._cipher_info)
