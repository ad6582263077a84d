"""The report in a real browser: no message, no fault that axe-core finds, nothing wider than the window."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

pytestmark = pytest.mark.slow
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # Debian's; root has no sandbox.
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("kind", ["report", "multilabel_report"])
@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1440), ("dark", 390), ("light", 1440)])
def test_it_can_be_read(browser, request, kind, scheme, width):
    report = request.getfixturevalue(kind)
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    messages = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: messages.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    found = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]}).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    assert messages == [report.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
    page.close()


def test_a_heading_sorts_with_the_keyboard(browser, report):
    page = browser.new_page()
    page.goto(report.as_uri())

    def column(number: int) -> list[str]:
        return page.locator(f"table.sortable tbody tr > :nth-child({number})").all_inner_texts()

    heading = page.get_by_role("button", name="Class", exact=True)
    heading.focus()
    page.keyboard.press("Enter")
    assert column(1) == list("0123456789")
    assert page.locator("th[aria-sort]").all_inner_texts() == ["Class"]
    page.keyboard.press("Enter")
    assert column(1) == list("9876543210")
    page.get_by_role("button", name="Right").click()
    right = [int(text) for text in column(3)]
    assert right == sorted(right)
    page.close()
