"""The operator's page as a person meets it: a real browser, on a desk and on a phone, without scripts, with a keyboard.

Whatever a test does, the browser asks nobody but our server and finds nothing that our policy forbids.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Request, ViewportSize, async_playwright, expect
from tests.support.browser import browser_path

if TYPE_CHECKING:
    from tests.faces.web.conftest import Office

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESK = ViewportSize(width=1100, height=900)
PHONE = ViewportSize(width=360, height=740)
Scheme = Literal["light", "dark"]

# Told by the browser itself, outside the page's own policy.
TELL_VIOLATIONS = (
    "addEventListener('securitypolicyviolation', event => console.error('violated ' + event.violatedDirective))"
)

# Each text with too little contrast to what is painted behind it (WCAG 2.2 §1.4.3: 4.5, or 3 where it is large), and
# each field whose border is too pale (§1.4.11: 3).
LOW_CONTRAST = """() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = channels(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
      if (a !== 0) throw new Error('half transparent background');
    }
    return channels(getComputedStyle(document.documentElement).getPropertyValue('background-color')).slice(0, 3);
  };
  const ratio = (one, two) => {
    const [low, high] = [luminance(one), luminance(two)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const found = [], seen = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    seen.push(element);
    if (ratio(channels(style.color), behind(element)) < (large ? 3 : 4.5)) found.push(walker.currentNode.data);
  }
  for (const field of document.querySelectorAll('input[type=password], textarea, .decline'))
    if (ratio(channels(getComputedStyle(field).borderTopColor), behind(field.parentElement)) < 3)
      found.push(field.name);
  return seen.length > 5 ? found : ['too little text was looked at'];
}"""

OpenPage = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="module")
async def browser() -> AsyncGenerator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path(), args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def open_page(browser: Browser, base_url: str) -> AsyncGenerator[OpenPage]:
    """Opens pages in contexts of their own; at the end, nothing was asked elsewhere and nothing was violated."""
    requests: list[Request] = []
    complaints: list[str] = []

    def hear(text: str) -> None:
        if "Failed to load resource: the server responded with a status of" not in text:  # our own 4xx
            complaints.append(text)

    async def open_(url: str, *, phone: bool = False, scheme: Scheme = "light", scripts: bool = True) -> Page:
        context = await browser.new_context(
            viewport=PHONE if phone else DESK,
            is_mobile=phone,
            has_touch=phone,
            color_scheme=scheme,
            java_script_enabled=scripts,
        )
        page = await context.new_page()
        await page.add_init_script(TELL_VIOLATIONS)
        page.on("request", lambda request: requests.append(request))
        page.on("console", lambda message: hear(message.text))
        page.on("pageerror", lambda error: hear(str(error)))
        page.on("dialog", lambda dialog: hear(f"dialog {dialog.message}"))
        await page.goto(base_url + url)
        return page

    yield open_
    for context in browser.contexts:
        await context.close()
    assert complaints == []
    assert {urlsplit(each.url).netloc for each in requests if not each.url.startswith("data:")} == {
        urlsplit(base_url).netloc
    }
    assert not [each.url for each in requests if each.resource_type != "document" and not each.url.startswith("data:")]


async def decide(page: Page, office: Office, button: str, *, passcode: str | None = None, comment: str = "") -> None:
    await page.get_by_label("Note to the agent").fill(comment)
    await page.get_by_label("Operator passcode").fill(office.passcode if passcode is None else passcode)
    await page.get_by_role("button", name=button, exact=True).click()


async def sideways(page: Page) -> bool:
    """Whether a person could scroll to the side."""
    return await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


async def cut_off(page: Page) -> list[str]:
    """Texts that their own box cuts off."""
    return await page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(element => !element.closest('.unseen, textarea, svg'))
        .filter(element => element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0)
        .map(element => element.outerHTML.slice(0, 80))"""
    )


async def test_approving(office: Office, open_page: OpenPage) -> None:
    url = await office.upgrade_link(reason="to complete the customer notification")
    page = await open_page(office.path_of(url))
    await expect(page).to_have_title("Let this agent send email? – daimon-mcp")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Let this agent send email?")
    await expect(page.get_by_text("to complete the customer notification")).to_be_visible()
    await decide(page, office, "Approve", comment="Go ahead")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Approved")
    await expect(page.get_by_text("This agent is on starter now.")).to_be_visible()
    assert await office.tier() == "starter"
    assert await office.told(url) == ("approved", "Go ahead")
    assert office.token_of(url) not in page.url
    assert office.token_of(url) not in await page.content()


async def test_declining(office: Office, open_page: OpenPage) -> None:
    url = await office.upgrade_link()
    page = await open_page(office.path_of(url))
    await decide(page, office, "Decline", comment="Ask me again next week")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Declined")
    await expect(page.get_by_text("Ask me again next week")).to_be_visible()
    assert await office.tier() == "free"
    assert await office.told(url) == ("rejected", "Ask me again next week")


async def test_a_question_is_approved_on_a_phone_without_scripts(office: Office, open_page: OpenPage) -> None:
    url = await office.request_link("May I refund order A-17?", context={"order": "A-17"})
    page = await open_page(office.path_of(url), phone=True, scripts=False)
    await decide(page, office, "Approve")
    await expect(page.get_by_text("The agent may go ahead with what it asked.")).to_be_visible()
    assert await office.told(url) == ("approved", "")


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
async def test_a_wrong_passcode_leads_back_to_its_field(office: Office, open_page: OpenPage, phone: bool) -> None:
    page = await open_page(office.path_of(await office.upgrade_link(reason="x")), phone=phone)
    await decide(page, office, "Approve", passcode="wrong", comment="Go ahead")
    await expect(page.get_by_role("alert")).to_contain_text("tries left: 4")
    await expect(page.get_by_role("alert")).to_be_in_viewport(ratio=1)
    field = page.get_by_label("Operator passcode")
    await expect(field).to_be_focused()
    await expect(field).to_have_value("")
    await expect(field).to_have_accessible_description(re.compile("tries left: 4"))
    await expect(page.get_by_label("Note to the agent")).to_have_value("Go ahead")
    assert await office.tier() == "free"
    await decide(page, office, "Approve", comment="Go ahead")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Approved")


async def test_a_lock_after_too_many_tries_is_told(office: Office, open_page: OpenPage) -> None:
    page = await open_page(office.path_of(await office.upgrade_link()))
    for _ in range(5):
        await decide(page, office, "Approve", passcode="wrong")
    await expect(page.get_by_role("alert")).to_contain_text("tries left: 0")
    await decide(page, office, "Approve")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Locked for 15 minutes")
    assert await office.tier() == "free"


async def test_a_used_link_and_going_back_say_that_it_is_decided(office: Office, open_page: OpenPage) -> None:
    path = office.path_of(await office.upgrade_link())
    page = await open_page(path)
    await decide(page, office, "Approve")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Approved")
    await page.go_back()
    await expect(page.get_by_role("heading", level=1)).to_have_text("This request is decided already")
    again = await open_page(path, phone=True)
    await expect(again.get_by_role("alert")).to_contain_text("the request is approved")
    assert not await sideways(again)


async def test_the_browser_asks_for_the_passcode_before_it_sends_anything(office: Office, open_page: OpenPage) -> None:
    page = await open_page(office.path_of(await office.upgrade_link()))
    for button in ("Approve", "Decline"):
        await page.get_by_role("button", name=button, exact=True).click()
        await expect(page.get_by_label("Operator passcode")).to_be_focused()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Let this agent send email?")


async def test_by_keyboard_a_decision_is_a_button_and_never_enter_in_a_field(
    office: Office, open_page: OpenPage
) -> None:
    url = await office.upgrade_link()
    page = await open_page(office.path_of(url))
    names: list[str] = []
    for _ in range(4):
        await page.keyboard.press("Tab")
        focused = page.locator(":focus")
        outline = await focused.evaluate("element => getComputedStyle(element).outlineStyle")
        assert outline == "solid", "focus is to be seen"
        names.append(await focused.evaluate("element => element.id || element.value"))
    assert names == ["comment", "passcode", "approve", "decline"]
    await page.get_by_label("Operator passcode").fill(office.passcode)
    await page.evaluate("addEventListener('submit', () => { document.title = 'sent' })")
    await page.keyboard.press("Enter")
    await expect(page).not_to_have_title("sent")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    assert await office.told(url) == ("pending", None)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Declined")


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
async def test_an_agents_words_are_shown_as_text_and_cannot_break_the_page(
    office: Office, open_page: OpenPage, phone: bool
) -> None:
    attack = (
        "</blockquote><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)><style>*{display:none}"
    )
    context = {attack: attack, "k" * 300: "v" * 300, "many words": "word " * 100, "deep": [[attack]]}
    label = '<a href="http://evil.example">Click</a>'
    urls = [
        await office.upgrade_link(reason=attack),
        await office.upgrade_link(reason="W" * 300),
        await office.upgrade_link(reason="Z\u0335\u0321\u0353" * 60),
        await office.request_link("x" * 1000, context=context, action_label=label),
    ]
    for url in urls:
        page = await open_page(office.path_of(url), phone=phone)
        assert not await sideways(page)
        assert await cut_off(page) == []
        await expect(page.get_by_role("button", name="Approve")).to_be_visible()
        assert await page.locator("script, img, a, iframe").count() == 0
        assert await page.locator("style").count() == 1
    page = await open_page(office.path_of(urls[0]), phone=phone)
    await expect(page.locator("blockquote")).to_have_text(attack)


async def test_every_page_fits_a_phone(office: Office, open_page: OpenPage, base_url: str) -> None:
    await office.park("waits")
    page = await open_page(office.path_of(await office.upgrade_link(tier="enterprise", reason="x")), phone=True)
    assert not await sideways(page)
    assert await cut_off(page) == []
    for target in await page.locator("button:visible, input:visible").all():
        box = await target.bounding_box()
        assert box is not None
        assert box["height"] >= 44, "large enough for a finger"
    size = await page.get_by_label("Operator passcode").evaluate(
        "field => parseFloat(getComputedStyle(field).fontSize)"
    )
    assert size >= 16, "smaller, and phones zoom in when the field is touched"
    await page.goto(base_url + "/upgrade?token=forged")
    assert not await sideways(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_can_be_read_in_light_and_dark(
    office: Office, open_page: OpenPage, base_url: str, scheme: Scheme
) -> None:
    await office.park("waits")
    page = await open_page(office.path_of(await office.upgrade_link(reason="x")), scheme=scheme)
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(ground) > 600) == (scheme == "light")
    assert await page.evaluate(LOW_CONTRAST) == []
    await decide(page, office, "Approve", passcode="wrong")
    await expect(page.get_by_role("alert")).to_be_visible()
    assert await page.evaluate(LOW_CONTRAST) == []
    await decide(page, office, "Approve", comment="Go ahead")
    await expect(page.get_by_text("leaves now")).to_be_visible()
    assert await page.evaluate(LOW_CONTRAST) == []
    await page.goto(base_url + office.path_of(await office.request_link("May I?", context={"a": "b"})))
    assert await page.evaluate(LOW_CONTRAST) == []


async def test_no_page_of_another_site_can_decide_or_frame_ours(
    office: Office, browser: Browser, base_url: str
) -> None:
    """Even one that knows the link, the form token and the passcode."""
    url = await office.upgrade_link()
    async with await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(base_url + office.path_of(url))
        form_token = await page.locator("input[name=form_token]").input_value()
        await page.goto(base_url.replace("127.0.0.1", "localhost") + "/elsewhere")
        fields = {
            "token": office.token_of(url),
            "form_token": form_token,
            "passcode": office.passcode,
            "decision": "approve",
        }
        inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
        await page.set_content(
            f'<form method="post" action="{base_url}/upgrade">{inputs}<button>Win a prize</button></form>'
        )
        await page.get_by_role("button").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("This form was not accepted")
        await page.goto(base_url.replace("127.0.0.1", "localhost") + "/elsewhere")
        await page.set_content(f'<iframe src="{base_url}{office.path_of(url)}"></iframe>')
        frame = page.frame_locator("iframe")
        await expect(frame.locator("body")).to_be_attached()
        await expect(frame.get_by_role("button", name="Approve")).to_have_count(0)
    assert await office.told(url) == ("pending", None)
    assert await office.tier() == "free"
