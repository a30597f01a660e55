"""mitmweb's own page in a browser: what is held is found there, read, edited by key, resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from browser import Browser, Page
from reviewed import Reviewed, reviewed
from sdks import Said, ask

from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

REVIEW = """
rejoin_s: 0
timeout_s: 40
rules:
  - {name: asked, hold: request, models: [sim-echo*]}
  - {name: answered, hold: response, models: [sim-text]}
"""
CHAT = "https://api.openai.com/v1/chat/completions"
ROWS = "document.querySelectorAll('.flow-table tbody tr[class]')"
EDITOR = "document.querySelector('.cm-content')"
SHOWN = "document.querySelector('.contentview pre').textContent"
SETTLED = """new Promise((done) =>
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"""
protocols = pytest.mark.parametrize(
    ("protocol", "stream"),
    [
        ("openai_chat", True),
        ("openai_chat", False),
        ("openai_responses", True),
        ("anthropic_messages", True),
        ("anthropic_messages", False),
        ("gemini_generate", True),
    ],
)


class Mitmweb:
    """mitmweb's page as a person uses it."""

    def __init__(self, page: Page, place: Reviewed, threads: ThreadPoolExecutor) -> None:
        self.page = page
        self.place = place
        self._threads = threads

    def ask(self, protocol: str, model: str, *, stream: bool) -> Future[Said]:
        return self._threads.submit(ask, self.place.proxied, protocol, model, stream=stream)

    def open(self) -> str:
        """Clicks on the flow that is held; its id."""
        (flow,) = self.place.await_held()
        self.page.click(".flow-table tr.intercepted .col-path")
        self.page.until(f"location.hash.includes('{flow}') && !!{SHOWN}")
        return flow

    def tab(self, name: str) -> None:
        self._click(".flow-detail nav a", name)

    def button(self, name: str) -> None:
        """A button of the toolbar."""
        self._click("header button:not([disabled])", name)

    def _click(self, selector: str, text: str) -> None:
        """A click of the mouse on the element with this text."""
        self.page.until(
            f"""(() => {{
            for (const old of document.querySelectorAll("[data-wanted]"))
                old.removeAttribute("data-wanted");
            const found = [...document.querySelectorAll({json.dumps(selector)})]
                .find((one) => one.textContent.includes({json.dumps(text)}));
            found?.setAttribute("data-wanted", "");
            return !!found;
        }})()"""
        )
        self.page.click("[data-wanted]")

    def edit(self, at: str, typed: str) -> None:
        """Opens the editor and types at the end of the line that begins so."""
        self._click(".contentview button", "Edit")
        self.page.until(f"!!{EDITOR}?.innerText.includes({json.dumps(at)})")
        self.page.until(
            f"""(() => {{
            const line = [...document.querySelectorAll(".cm-line")]
                .find((one) => one.textContent.startsWith({json.dumps(at)}));
            line?.setAttribute("data-wanted", "");
            return !!line;
        }})()"""
        )
        self.page.click("[data-wanted]")
        self.page.press("End")
        for key in typed:
            self.page.press(key)
        self.page.until(f"{EDITOR}.innerText.includes({json.dumps(typed)})")

    def save(self) -> None:
        # React takes in what was typed before a person could reach the button.
        self.page.js(SETTLED)
        self._click(".contentview button", "Done")
        self.page.until(f"!{EDITOR} && !!{SHOWN}")

    def shows(self, text: str) -> None:
        self.page.until(f"{SHOWN}.includes({json.dumps(text)})")

    def search(self, filter_text: str) -> None:
        """Types into the list's search field."""
        self._click("header nav a", "Flow List")
        self.page.click("header input[placeholder=Search]")
        self.page.press("a", ctrl=True)
        self.page.press("Backspace")
        for key in filter_text:
            self.page.press(key)
        self.page.press("Escape")


@pytest.fixture(scope="module")
def place(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    with reviewed(tmp_path_factory.mktemp("mitmweb"), sim, REVIEW) as found:
        yield found


@pytest.fixture
def mitmweb(browser: Browser, place: Reviewed) -> Iterator[Mitmweb]:
    """mitmweb's page, logged in. At the end nobody waits and the browser has no complaint."""
    page = browser.page()
    page.view(1440, 900)
    base = str(place.web.base_url).rstrip("/")
    page.call("Page.navigate", url=f"{base}/?token=secret")
    page.until("document.querySelector('.connection-indicator')?.textContent === 'connected'")
    with ThreadPoolExecutor(4) as threads:
        yield Mitmweb(page, place, threads)
        for flow in place.held():
            place.resume(flow["id"])
    trouble = page.trouble
    page.close()
    assert trouble == []


def test_what_is_held_is_marked_and_found_with_a_filter(mitmweb: Mitmweb) -> None:
    with mitmweb.place.proxied.client() as client:
        body = {"model": "sim-tool", "messages": [{"role": "user", "content": "Not held."}]}
        client.post(CHAT, json=body)
    said = mitmweb.ask("openai_chat", "sim-echo", stream=True)
    mitmweb.place.await_held()
    page = mitmweb.page
    page.until(f"{ROWS}.length > 1")
    for words in ("~marker raised_hand", "~comment held"):
        mitmweb.search(words)
        page.until(f"{ROWS}.length === 1")
        marker = page.js("document.querySelector('tr.intercepted .marker').textContent")
        assert marker == "\N{RAISED HAND}"
    page.until("!!document.querySelector('tr.intercepted .fa-pause')")
    mitmweb.open()
    mitmweb.tab("Comment")
    page.until("document.querySelector('.flow-detail').innerText.includes('held: a request')")
    mitmweb.button("Resume")
    assert said.result(30).text
    mitmweb.search("~marker raised_hand")
    page.until(f"{ROWS}.length === 0")


@protocols
def test_a_request_edited_by_key_is_what_the_provider_gets(
    mitmweb: Mitmweb, sim: SimThread, protocol: str, stream: bool
) -> None:
    said = mitmweb.ask(protocol, "sim-echo", stream=stream)
    mitmweb.open()
    mitmweb.shows("Hello there.")
    mitmweb.edit("    Hello there.", " And: good night, 7!")
    mitmweb.save()
    mitmweb.shows("Hello there. And: good night, 7!")
    mitmweb.button("Resume")
    assert "Hello there. And: good night, 7!" in said.result(30).text
    assert b"good night" in sim.log.all()[-1].body
    assert last(mitmweb.place)["action"] == "edit"


@protocols
def test_an_answer_edited_by_key_is_what_the_client_gets(
    mitmweb: Mitmweb, protocol: str, stream: bool
) -> None:
    said = mitmweb.ask(protocol, "sim-text", stream=stream)
    mitmweb.open()
    mitmweb.tab("Response")
    mitmweb.shows(f"over {protocol}")
    mitmweb.edit("  This is", " so says a person")
    mitmweb.save()
    mitmweb.shows("so says a person")
    mitmweb.button("Resume")
    answer = said.result(30)
    assert protocol in answer.text
    assert "so says a person" in answer.text


def last(place: Reviewed) -> dict[str, Any]:
    """The newest line of the decision log."""
    return json.loads((place.home / "decisions.jsonl").read_text().splitlines()[-1])


def test_a_mistake_is_told_and_nothing_is_lost(mitmweb: Mitmweb) -> None:
    said = mitmweb.ask("openai_chat", "sim-echo", stream=False)
    flow = mitmweb.open()
    mitmweb.edit("  role: user", "s")
    mitmweb.save()
    # mitmweb has closed its editor; what was typed stands in the view, with what is wrong in it.
    mitmweb.shows("  role: users")
    mitmweb.shows("#! This edit was not applied")
    told = mitmweb.page.js("document.querySelector('.contentview pre').innerText")
    lines = told.splitlines()
    place = lines.index("  role: users") + 1
    assert any(line.startswith(f"#! line {place}: `role` must be") for line in lines), told
    assert [each["id"] for each in mitmweb.place.held()] == [flow]
    # And in the editor, where it is mended.
    mitmweb.edit("  role: users", "x")
    mitmweb.page.press("Backspace")
    mitmweb.page.press("Backspace")
    mitmweb.page.until(f"!{EDITOR}.innerText.includes('role: users')")
    mitmweb.save()
    mitmweb.page.until(f"!{SHOWN}.includes('#!')")
    mitmweb.edit("    Hello there.", " Mended.")
    mitmweb.save()
    mitmweb.shows("Mended.")
    mitmweb.button("Resume")
    assert "Hello there. Mended." in said.result(30).text
    # The browser tells of every answer that is an error.
    assert all("400" in each for each in mitmweb.page.trouble)
    mitmweb.page.trouble.clear()


def test_revert_brings_back_what_was_held(mitmweb: Mitmweb, sim: SimThread) -> None:
    said = mitmweb.ask("openai_chat", "sim-echo", stream=True)
    mitmweb.open()
    mitmweb.edit("    Hello there.", " Never mind.")
    mitmweb.save()
    mitmweb.shows("Never mind.")
    mitmweb.button("Revert")
    mitmweb.page.until(f"!{SHOWN}.includes('Never mind.')")
    mitmweb.button("Resume")
    assert said.result(30).text == "Hello there."
    assert b"Never mind" not in sim.log.all()[-1].body
    assert last(mitmweb.place)["action"] == "approve"


def test_nothing_is_left_to_revert_once_it_has_gone_on(mitmweb: Mitmweb) -> None:
    said = mitmweb.ask("openai_chat", "sim-echo", stream=True)
    flow = mitmweb.open()
    mitmweb.edit("    Hello there.", " Off it goes.")
    mitmweb.save()
    mitmweb.button("Resume")
    assert "Off it goes." in said.result(30).text
    mitmweb.place.until(lambda: "tok" in of(mitmweb.place, flow)["comment"])
    after = of(mitmweb.place, flow)
    assert (after["modified"], after["intercepted"], after["marked"]) == (False, False, "")
    mitmweb.page.until(
        """[...document.querySelectorAll("header button")]
            .find((one) => one.textContent.includes("Revert")).disabled"""
    )


def of(place: Reviewed, flow: str) -> dict[str, Any]:
    """A flow as mitmweb's page gets it."""
    return next(each for each in place.flows() if each["id"] == flow)


@pytest.mark.parametrize("model", ["sim-echo", "sim-text"])
def test_abort_ends_it_at_once(mitmweb: Mitmweb, model: str) -> None:
    with mitmweb.place.proxied.client() as client, ThreadPoolExecutor(1) as threads:
        body = {"model": model, "messages": [{"role": "user", "content": "Wait."}]}
        said = threads.submit(client.post, CHAT, json=body)
        mitmweb.open()
        mitmweb.button("Abort")
        with pytest.raises(httpx.HTTPError):
            said.result(30)
    mitmweb.place.until(lambda: mitmweb.place.queue() == [])
    assert last(mitmweb.place)["what"] == "cancelled"


def test_the_review_page_opens_with_mitmwebs_login_and_sees_what_is_saved_there(
    mitmweb: Mitmweb, sim: SimThread
) -> None:
    """Saved in mitmweb, approved on the review page by who saw it."""
    said = mitmweb.ask("openai_chat", "sim-echo", stream=False)
    mitmweb.open()
    page, base = mitmweb.page, str(mitmweb.place.web.base_url).rstrip("/")
    held = mitmweb.place.web.get("/llm/api/v1/requests").json()["requests"]
    before = held[0]["digest"]
    mitmweb.edit("    Hello there.", " Saved here.")
    mitmweb.save()
    mitmweb.shows("Saved here.")
    page.goto(f"{base}/llm/", "document.querySelectorAll('#cards li').length === 1")
    page.click("#cards li")
    page.until("!document.querySelector('#actions.settling')")
    page.until("document.querySelector('main').innerText.includes('Saved here.')")
    stale = decide(mitmweb.place, held[0]["request_id"], before)
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "stale"), stale.text
    page.press("a")
    page.until("document.querySelectorAll('#cards li').length === 0")
    assert said.result(30).text == "Hello there. Saved here."
    assert b"Saved here." in sim.log.all()[-1].body
    assert last(mitmweb.place)["action"] == "approve"


def decide(place: Reviewed, card: str, digest: str) -> httpx.Response:
    """An approval over REST."""
    return place.web.post(
        f"/llm/api/v1/requests/{card}/approve",
        json={"digest": digest},
        headers={"x-xsrftoken": place.web.cookies["_mitmproxy_xsrf"]},
    )
