"""Tests of the pages in a browser; run.py starts the server and passes its address."""

import json
import os
import tempfile
import time
import unittest
from importlib.resources import files
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

SETTINGS = json.loads(os.environ["SENTOR_BROWSER_TEST"])
URL = SETTINGS["url"]
SHOTS = Path(SETTINGS["shots"])
# A busy machine takes many times as long as an idle one.
TIMEOUT_SECONDS = 60
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1200,1000",
]
# The rules of WCAG 2.1 A and AA, and axe's best practices.
AXE_RUN = """
const done = arguments[arguments.length - 1];
axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}).then(
  (found) => done(found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`)),
  (error) => done([String(error)]));
"""
CSV = (
    "id;review;entities\r\n"
    "7;Great camera.;camera\r\n"
    '8;"Terrible battery; it ""died""\nin a day.";battery|camera\r\n'
    "9;The box is brown.;\r\n"
)


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="sentor-chromium-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.downloads = Path(cls.folder.name) / "downloads"
        cls.downloads.mkdir()
        options = webdriver.ChromeOptions()
        options.binary_location = SETTINGS["browser"]
        for flag in [*FLAGS, f"--user-data-dir={cls.folder.name}/profile"]:
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"download.default_directory": str(cls.downloads)})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        cls.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(SETTINGS["driver"]))
        cls.addClassCleanup(cls.driver.quit)
        cls.driver.set_script_timeout(TIMEOUT_SECONDS)

    def setUp(self):
        self.width(1200)
        self.scheme("light")
        self.open("/")
        self.driver.execute_script("sessionStorage.clear()")
        self.open("/")

    def tearDown(self):
        # Violations of the content security policy are among these messages.
        severe = [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]
        expected = ["status of 401", "status of 422", "/nothing/here"]
        self.assertEqual([line for line in severe if not any(words in line for words in expected)], [])

    # Actions of a user.

    def open(self, path):
        self.driver.get(URL + path)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.find(selector).text

    def wait(self, condition, what):
        WebDriverWait(self.driver, TIMEOUT_SECONDS, poll_frequency=0.05).until(lambda _: condition(), what)

    def type(self, selector, text):
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def give_key(self):
        self.type("#key", SETTINGS["key"])

    def score_example(self, language="en"):
        self.give_key()
        self.find(f"[data-example={language}]").click()
        self.find("#ask [type=submit]").click()
        self.wait(lambda: self.text("#status").startswith("Scored"), "a result")

    def load_file(self):
        path = Path(self.folder.name) / "reviews.csv"
        path.write_text(CSV, encoding="utf-8", newline="")
        self.find("#file").send_keys(str(path))
        self.wait(lambda: self.find("#batch").is_displayed(), "the file's columns")

    def score_file(self):
        self.give_key()
        self.load_file()
        self.find("#run").click()
        self.wait(lambda: len(self.rows()) == 3, "three rows")

    def rows(self):
        return [row.text for row in self.all("#row-table tbody tr")]

    def width(self, pixels):
        metrics = {"width": pixels, "height": 1000, "deviceScaleFactor": 1, "mobile": pixels < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name):
        feature = {"name": "prefers-color-scheme", "value": name}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def shoot(self, name):
        SHOTS.mkdir(exist_ok=True)
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        width = self.driver.execute_script("return innerWidth")
        metrics = {"width": width, "height": min(height, 3000), "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.save_screenshot(str(SHOTS / f"{name}.png"))

    def accessible(self, where):
        self.driver.execute_script((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
        self.assertEqual(self.driver.execute_async_script(AXE_RUN), [], where)

    def fits(self, where):
        over = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        self.assertEqual(self.driver.execute_script(over), 0, f"{where} scrolls sideways")

    # What the user sees.

    def test_a_text_is_shown_with_its_sentences_mentions_and_entities(self):
        self.score_example()
        shown = self.text("#reading")
        self.assertRegex(shown, r"The camera\+\n\(camera positive [\d.]+ %\)\n is superb, but the battery−\n\(battery negative ")
        self.assertNotIn("[object", shown)
        mentions = [mention.text for mention in self.all("#reading button.mention")]
        self.assertEqual(len(mentions), 4, mentions)
        rows = [row.text for row in self.all("#entity-table tbody tr")]
        self.assertEqual([row.split()[0] for row in rows], ["camera", "battery", "Acme", "price"])
        self.assertIn("positive", rows[0])
        self.assertIn("none", rows[3])
        self.width(900)
        self.shoot("readme")
        self.width(1200)
        self.driver.execute_script("document.querySelectorAll('#result details').forEach((part) => { part.open = true; })")
        answer = json.loads(self.text("#json"))
        self.assertEqual(answer["results"][0]["entity_sentiments"][0]["entity"], "camera")
        self.assertIn(f"curl '{URL}/api/predicts?language=auto'", self.text("#curl"))
        self.assertIn("$SENTOR_API_KEY", self.text("#curl"))
        self.assertNotIn(SETTINGS["key"], self.driver.page_source)
        self.shoot("desktop")

    def test_dutch_is_told_and_scored(self):
        self.score_example("nl")
        self.assertIn("read as Dutch", self.text("#verdict"))

    def test_letters_outside_the_basic_plane_keep_their_place(self):
        self.give_key()
        text = "😀😀 The café is great. 𝄞 Bad coffee <b>here</b>."
        self.driver.execute_script("document.querySelector('#text').value = arguments[0]", text)
        self.type("#entities", "café, coffee")
        self.find("#text").send_keys(Keys.CONTROL, Keys.ENTER)
        self.wait(lambda: self.text("#status").startswith("Scored"), "a result")
        shown = "return [...document.querySelectorAll('#reading .mention')].map((one) => one.firstChild.data)"
        self.assertEqual(self.driver.execute_script(shown), ["café", "coffee"])
        self.assertEqual(self.all("#reading b"), [], "markup in a text is text")

    def test_probabilities_come_by_keyboard_and_go_with_escape(self):
        self.score_example()
        self.driver.execute_script("document.querySelector('#result-title').focus()")
        for _ in range(10):
            self.driver.switch_to.active_element.send_keys(Keys.TAB)
            if "mention" in self.driver.switch_to.active_element.get_attribute("class"):
                break
        self.wait(lambda: self.find("#tip").is_displayed(), "the tip")
        self.assertRegex(self.text("#tip"), r"camera: positive\n[\d.]+ %, [\d.]+ %, [\d.]+ %")
        self.shoot("tip")
        self.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        self.assertFalse(self.find("#tip").is_displayed())

    def test_probabilities_come_by_hovering(self):
        self.score_example()
        webdriver.ActionChains(self.driver).move_to_element(self.find("button.mention")).perform()
        self.wait(lambda: self.find("#tip").is_displayed(), "the tip")

    def test_the_key_stays_in_the_tab(self):
        self.score_example()
        stored = "return [sessionStorage.length, localStorage.length, document.cookie, location.href]"
        self.assertEqual(self.driver.execute_script(stored), [1, 0, "", f"{URL}/"])
        self.open("/")
        self.assertEqual(self.find("#key").get_attribute("value"), SETTINGS["key"])
        self.assertEqual(self.find("#key").get_attribute("type"), "password")

    def test_a_wrong_key_is_said(self):
        self.type("#key", "sentor_live_wrong")
        self.type("#text", "Great.")
        self.find("#ask [type=submit]").click()
        self.wait(lambda: self.find("#problem").is_displayed(), "the refusal")
        self.assertIn("The key is not accepted: this is not a valid API key", self.text("#problem"))
        self.assertRegex(self.text("#problem"), r"Request [0-9a-f-]{36}")
        self.assertEqual(self.driver.switch_to.active_element.get_attribute("id"), "key")

    def test_a_file_becomes_a_table(self):
        self.score_file()
        self.assertEqual(Select(self.find("#column-text")).first_selected_option.text, "review")
        self.assertIn("camera: + positive", self.rows()[0])
        self.assertIn('Terrible battery; it "died" in a day.', self.rows()[1].replace("\n", " "))
        self.shoot("table")
        heading = self.find("[data-sort=balance]")
        heading.click()
        self.assertIn("Terrible", self.rows()[0])
        self.assertEqual(heading.find_element(By.XPATH, "..").get_attribute("aria-sort"), "ascending")
        heading.click()
        self.assertIn("Great", self.rows()[0])
        Select(self.find("#filter-sentiment")).select_by_value("positive")
        self.assertEqual(self.text("#row-count"), "1 of 3 rows")
        Select(self.find("#filter-sentiment")).select_by_value("")
        self.type("#filter-text", "box")
        self.assertEqual(self.text("#row-count"), "1 of 3 rows")
        self.find("#filter-text").clear()
        self.find("#filter-text").send_keys(" ")
        self.find("#download-csv").click()
        self.find("#download-jsonl").click()
        self.assertEqual(len(self.downloaded("sentor.csv").splitlines()), 7, "a line for each entity; one text has two lines")
        lines = [json.loads(line) for line in self.downloaded("sentor.jsonl").splitlines()]
        self.assertEqual(sorted(line["doc_id"] for line in lines), ["7", "8", "9"])

    def downloaded(self, name):
        path = self.downloads / name
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not (path.is_file() and path.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        return path.read_text(encoding="utf-8")

    def open_file(self, name, content):
        path = Path(self.folder.name) / name
        path.write_bytes(content)
        self.find("#file").send_keys(str(path))

    def test_files_are_read_as_on_the_command_line(self):
        self.give_key()
        self.open_file("nl.csv", "id;opmerking;datum\r\n1;Het café was prima;3-1-2026\r\n2;;4-1-2026\r\n".encode("cp1252"))
        self.wait(lambda: self.find("#batch").is_displayed(), "the file's columns")
        self.assertEqual(Select(self.find("#column-text")).first_selected_option.text, "opmerking")
        self.assertEqual(Select(self.find("#column-date")).first_selected_option.text, "datum")
        self.assertIn("taken for windows-1252", self.text("#notices"))
        self.open_file("list.json", b'[{"doc": "Great."}, {"doc": "Bad."}]')
        self.wait(lambda: "list.json: 2 rows" in self.text("#batch-title"), "the rows of the list")
        self.open_file("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64))
        self.wait(lambda: self.find("#problem").is_displayed(), "the refusal")
        self.assertIn("save it as .xlsx or as CSV", self.text("#problem"))
        self.assertFalse(self.find("#batch").is_displayed(), "an older file does not stay under the refusal")

    def test_an_error_hides_the_older_result(self):
        self.score_example()
        self.type("#key", "sentor_live_wrong")
        self.find("#ask [type=submit]").click()
        self.wait(lambda: self.find("#problem").is_displayed(), "the refusal")
        self.assertFalse(self.find("#result").is_displayed())

    def test_filters_act_on_charts_and_lists(self):
        self.score_file()
        self.assertEqual(len(self.all("#share-chart svg")), 1)
        self.assertIn("Terrible", self.text("#most-negative"))
        self.assertIn("Great", self.text("#most-positive"))
        Select(self.find("#filter-entity")).select_by_value("battery")
        self.assertNotIn("Great", self.text("#most-positive"))
        self.assertEqual(self.text("#row-count"), "1 of 3 rows")
        self.find("#download-excel").click()
        self.find("[data-png=share-chart]").click()
        for name in ["sentor.xlsx", "sentor-share-chart.png"]:
            path = self.downloads / name
            self.wait(lambda: path.is_file() and path.stat().st_size > 100, name)

    def test_an_address_without_a_page_leads_on(self):
        self.open("/nothing/here")
        self.assertIn("no page at this address", self.text("main"))
        self.assertEqual(self.find("main a").get_attribute("href"), f"{URL}/")
        self.driver.get_log("browser")

    def test_the_documentation_is_searched_and_copied(self):
        self.open("/docs/quick-start")
        self.assertTrue(self.all(".code .copy"))
        self.type("#search-words", "retry-after")
        self.wait(lambda: self.all("#search-results a"), "results")
        self.accessible("the search")
        self.find("#search-results a").click()
        self.wait(lambda: "/docs/" in self.driver.current_url, "a page")

    def test_no_cell_of_a_download_is_a_formula(self):
        cases = json.loads((Path(__file__).parents[1] / "reference/formula_cells.json").read_text(encoding="utf-8"))
        guard = """
        const done = arguments[arguments.length - 1];
        import("/web/table.js").then(({ guardFormulas }) => done(arguments[0].map(guardFormulas)));
        """
        guarded = self.driver.execute_async_script(guard, [cell for cell, _ in cases])
        self.assertEqual(guarded, [expected for _, expected in cases])

    def test_a_phone_is_wide_enough(self):
        self.width(360)
        self.score_example()
        self.fits("the result")
        self.shoot("phone")
        self.load_file()
        self.find("#run").click()
        self.wait(lambda: len(self.rows()) == 3, "three rows")
        self.fits("the table")
        for path in ["/docs", "/docs/api", "/docs/errors", "/docs/configuration", "/docs/reference"]:
            self.open(path)
            self.fits(path)

    def test_everybody_can_use_it(self):
        for scheme in ["light", "dark"]:
            self.scheme(scheme)
            self.score_example()
            self.load_file()
            self.find("#run").click()
            self.wait(lambda: len(self.rows()) == 3, "three rows")
            self.driver.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
            self.accessible(f"the page, {scheme}")
            self.shoot(scheme)
            for path in ["/docs/quick-start", "/docs/api"]:
                self.open(path)
                self.accessible(f"{path}, {scheme}")
            self.open("/")

    def test_nothing_is_loaded_from_elsewhere(self):
        for path in ["/", "/docs", "/docs/reference"]:
            self.open(path)
            names = self.driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
            self.assertTrue(names)
            self.assertEqual([name for name in names if not name.startswith(f"{URL}/")], [], path)

    def test_the_reference_is_drawn_and_sends(self):
        self.give_key()
        self.open("/docs/reference")
        self.wait(lambda: len(self.all(".operation")) >= 5, "the operations")
        self.assertIn("POST", self.text("#predict_documents h3"))
        self.driver.execute_script("document.querySelector('#predict_documents details').open = true")
        self.find("#predict_documents button").click()
        self.wait(lambda: self.text("#predict_documents pre").startswith("200 OK"), "an answer")
        self.assertIn('"predicted_label": "positive"', self.text("#predict_documents pre"))
        self.accessible("the reference")
        self.shoot("reference")


if __name__ == "__main__":
    unittest.main()
