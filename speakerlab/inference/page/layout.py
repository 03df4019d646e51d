"""The page's tabs."""

import gradio as gr

from speakerlab.inference.page.answers import Answers

UNMEASURED = 0.5  # where the slider stands if nobody measured a threshold
MOST_WAITING = 32
NARROW = 320  # pixels, of a column
MODEL = "model"  # questions that wait for each other


def build_page(answers: Answers) -> gr.Blocks:
    """Compare; enrol and identify; the model."""
    card = answers.recognizer.card
    with gr.Blocks(title=f"speakerlab: {card.name}", analytics_enabled=False) as page:
        gr.Markdown("# Who is speaking?\n" + _told(answers))
        with gr.Tab("Compare"):
            _compare(answers)
        with gr.Tab("Enrol and identify"):
            _identify(answers, page)
        with gr.Tab("Model"):
            gr.Markdown(card.markdown(), elem_classes="card")
    page.queue(max_size=MOST_WAITING, api_open=False)
    return page


def theme() -> gr.themes.Base:
    """Of the system's own letters: none are fetched."""
    letters = ["system-ui", "sans-serif"]
    return gr.themes.Soft(
        primary_hue="blue", neutral_hue="slate", font=letters, font_mono=["ui-monospace", "monospace"]
    )


def _told(answers: Answers) -> str:
    limits = answers.limits
    return (
        f"Recordings of one voice each, in any usual format, up to {limits.seconds:g} s and {limits.megabytes:g} MB. "
        f"They go to the computer that serves this page and no further, and are deleted after "
        f"{limits.kept_seconds / 60:g} minutes; of enrolled voices the embeddings are kept."
    )


def _recording(label: str, name: str) -> gr.Audio:
    """A place for a file or the microphone; what comes is left as it is, for our own decoder."""
    return gr.Audio(
        sources=["upload", "microphone"],
        type="filepath",
        format=None,
        label=label,
        elem_id=name,
        min_width=NARROW,
        editable=False,
        buttons=[],
    )


def _threshold(answers: Answers, name: str) -> gr.Slider:
    card = answers.recognizer.card
    value, told = card.threshold, card.threshold_from
    if value is None:
        value, told = UNMEASURED, "nobody measured one for this model: set your own"
    return gr.Slider(-1.0, 1.0, round(value, 4), step=0.0001, label="Threshold of the score", info=told, elem_id=name)


def _compare(answers: Answers) -> None:
    with gr.Row():
        first, second = _recording("First recording", "first"), _recording("Second recording", "second")
    threshold = _threshold(answers, "threshold")
    button = gr.Button("Compare", variant="primary", elem_id="compare")
    verdict = gr.HTML(elem_id="verdict")
    with gr.Row():
        pictures = []
        for which in ("first", "second"):
            with gr.Column(min_width=NARROW):
                pictures.append(gr.HTML(elem_id=f"picture-{which}"))
    found = gr.State(None)
    button.click(
        answers.compare,
        [first, second, threshold],
        [verdict, *pictures, found],
        concurrency_id=MODEL,
        concurrency_limit=1,
        api_name="compare",
    )
    threshold.release(answers.decide, [found, threshold], verdict, show_progress="hidden", api_name="decide")


def _identify(answers: Answers, page: gr.Blocks) -> None:
    with gr.Row():
        with gr.Column(min_width=NARROW):
            name = gr.Textbox(label="Name", max_lines=1, max_length=200, elem_id="name")
            files = gr.File(
                file_count="multiple", type="filepath", label="Recordings of this voice", elem_id="files", height=180
            )
            recorded = gr.Audio(
                sources=["microphone"],
                type="filepath",
                format=None,
                label="Or record it",
                elem_id="recorded",
                editable=False,
                buttons=[],
            )
            enrol = gr.Button("Enrol", elem_id="enrol")
            added = gr.HTML(elem_id="added")
        with gr.Column(min_width=NARROW):
            unknown = _recording("Who is it?", "unknown")
            threshold = _threshold(answers, "threshold-identify")
            ask = gr.Button("Identify", variant="primary", elem_id="identify")
            who = gr.HTML(elem_id="who")
            picture = gr.HTML(elem_id="picture-unknown")
    people = gr.HTML(elem_id="people")
    shared = {"concurrency_id": MODEL, "concurrency_limit": 1}
    enrol.click(answers.enroll, [name, files, recorded], [added, people], api_name="enroll", **shared)
    ask.click(answers.identify, [unknown, threshold], [who, picture], api_name="identify", **shared)
    page.load(answers.people, None, people, show_progress="hidden", api_name="people")
