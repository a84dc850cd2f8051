"""The pack runs on all systems of ComfyUI: it has no calls of one system, and no names or paths that another refuses."""

import ast
import re
from pathlib import PureWindowsPath

import pytest
from conftest import ROOT, files

PACK = [ROOT / "__init__.py", *(file for name in ("nodes", "samplers", "embedded") for file in (ROOT / name).rglob("*.py"))]
# Modules and functions of the standard library that Windows lacks, or where its own differ.
MODULES = {"fcntl", "grp", "posix", "posixpath", "pty", "pwd", "readline", "resource", "spwd", "syslog", "termios", "tty"}
FUNCTIONS = {
    "os": "chown chroot fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority "
    "getuid initgroups kill killpg lchown link lockf major makedev minor mkfifo mknod nice openpty pathconf posix_fadvise "
    "posix_spawn pread pwrite readlink rename setgid setpgid setsid setuid statvfs symlink sysconf ttyname uname wait waitpid",
    "signal": "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 alarm pause pthread_kill setitimer sigwait",
    "socket": "AF_UNIX AF_NETLINK socketpair",
    "time": "clock_gettime clock_settime pthread_getcpuclockid tzset",
    "multiprocessing": "get_context set_start_method",
    "loop": "add_signal_handler",
}
LONGEST_PATH = 120  # of the 260 that Windows has, below ComfyUI/custom_nodes/<folder>/
ALLOWED = {"disk.py": {"os.link", "os.rename"}}  # tried where they are, with another way where they are not


def _unportable(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from [node.module] * (node.module.split(".")[0] in MODULES)
            yield from (alias.name for alias in node.names if alias.name in FUNCTIONS.get(node.module, "").split())
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = node.value.id
            if node.attr in FUNCTIONS.get(name, "").split() or (name == "os" and node.attr.startswith(("sched_", "RTLD_"))):
                yield f"{name}.{node.attr}"
        elif isinstance(node, ast.Call):
            yield from _without_encoding(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^/(?:tmp|dev|proc|usr|etc|var|home)\b.*", node.value)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = [side.value for side in (node.left, node.right) if isinstance(side, ast.Constant)]
            yield from (f"a path by + {side!r}" for side in sides if side in ("/", "\\"))


def _without_encoding(call: ast.Call):
    """Texts of files in the encoding of the system, which in Windows is not UTF-8."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = {keyword.arg for keyword in call.keywords}
    mode = next((a.value for a in call.args[1:2] if isinstance(a, ast.Constant)), "r")
    of_path = isinstance(call.func, ast.Attribute) and name in ("read_text", "write_text")
    of_text = of_path or (name == "open" and isinstance(call.func, ast.Name) and "b" not in str(mode))
    if of_text and "encoding" not in given:
        yield f"{name}(), line {call.lineno}, without encoding="


@pytest.mark.parametrize("file", PACK, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_call_of_one_system(file):
    result = set(_unportable(ast.parse(file.read_text(encoding="utf-8"))))
    assert result == ALLOWED.get(file.name, set())


def test_what_the_check_finds():
    code = """
import fcntl, os.path
from os import rename
os.sched_getaffinity(0), os.fork(), signal.SIGHUP
open("a"), open("a", "w"), path.read_text(), path.write_text(text)
"/tmp/x", folder + "/" + name
open("a", "rb"), open("a", encoding="utf-8"), safe_open("a"), os.replace("a", "b"), "a/b", 1 / 2
"""
    result = sorted(_unportable(ast.parse(code)))
    assert [thing.split(",")[0].split("(")[0] for thing in result] == sorted(
        ["fcntl", "rename", "os.sched_getaffinity", "os.fork", "signal.SIGHUP", "/tmp/x"]
        + ["a path by + '/'"] + ["open"] * 2 + ["read_text", "write_text"]
    )  # fmt: skip


def test_names_of_the_files_are_legal_everywhere():
    """This includes names in a folder that differ only in case, which are the same on Windows and macOS."""
    names = [file.relative_to(ROOT).as_posix() for file in files("")]
    for name in names:
        parts = PureWindowsPath(name).parts
        assert not re.search(r'[<>:"|?*\\\x00-\x1f]', name) and not any(part[-1] in " ." for part in parts), name
        assert not any(re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", part) for part in parts), name
        assert len(name) <= LONGEST_PATH, name
    assert len({name.lower() for name in names}) == len(names)
