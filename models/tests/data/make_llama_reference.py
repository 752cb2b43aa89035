"""Writes llama_reference.json: what llama.cpp makes of ten prompts, for the parity test in tests/generator.rs.

    CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_LLAMAFILE=OFF" pip install --no-binary llama-cpp-python llama-cpp-python
    python make_llama_reference.py SmolLM2-135M-Instruct.Q4_1.gguf > llama_reference.json

The two options take the plain AVX2 build. A build for the machine at hand is no reference: on some processors it adds up
attention in half precision, and it gives other texts for a batch of one token than for a batch of 512, because the two take
different kernels. The plain build gives one text, on every machine.

Greedy, no repeat penalty, default settings otherwise; the first 32 tokens, or fewer where the model ends its turn.
Raw prompts are given as they are, the others through the chat template in the file's metadata.
"""

import hashlib
import json
import sys

import jinja2.sandbox
import llama_cpp

TOKENS = 32

PASSAGES_SYSTEM = (
    "You answer questions about a company's documents. Use only the numbered passages. "
    "Cite the passage after each sentence, like [1]. If they do not hold the answer, say so."
)

TRAVEL = """[1] Travel policy, section 3. Employees book trains and flights through the travel desk at least ten working days
before departure. Second class is the rule for trains of less than four hours. Flights within Europe are booked in
economy class; business class is possible for flights of more than eight hours and needs the approval of the head of
department. Hotels may cost up to 140 euros a night including breakfast, in capital cities up to 185 euros.

[2] Travel policy, section 5. Meals are reimbursed by a daily allowance of 38 euros in the country and 52 euros abroad. On
the days of departure and return half of the allowance is paid. Breakfasts that the hotel includes are deducted with 20 %.
Receipts are not needed for the allowance. Alcoholic drinks are never reimbursed.

[3] Travel policy, section 6. Private cars may be used when public transport would take more than twice the time. The
company pays 0.30 euros per kilometre. Parking fees are paid against a receipt up to 25 euros a day. Fines are not paid.

[4] Expense reports. Reports are handed in within thirty days after the end of the journey, with all receipts as one PDF.
Finance answers within two weeks and pays with the next salary. Reports that come after ninety days are not paid unless
the managing director agrees in writing.

Question: How much may a hotel in a capital city cost, and how long do I have to hand in my expense report?"""

VACACIONES = """[1] Convenio interno, artículo 12. El personal tiene derecho a veintitrés días laborables de vacaciones al año. Las
vacaciones se solicitan en el portal del empleado con al menos treinta días de antelación y las aprueba la persona
responsable del departamento en un plazo de cinco días laborables. Si no hay respuesta en ese plazo, se entienden aprobadas.

[2] Convenio interno, artículo 13. Los días no disfrutados pueden trasladarse hasta el 31 de marzo del año siguiente, con un
máximo de cinco días. Los días trasladados que no se disfruten antes de esa fecha se pierden, salvo baja médica o permiso
por nacimiento. No se pagan en dinero, excepto al terminar el contrato.

[3] Convenio interno, artículo 15. Por matrimonio o registro de pareja de hecho se conceden quince días naturales de permiso
retribuido. Por mudanza se concede un día, y dos si es a otra provincia. Por fallecimiento de un familiar de primer grado
se conceden cuatro días, ampliables a seis cuando sea necesario desplazarse más de 200 kilómetros.

[4] Preguntas frecuentes. ¿Puedo tomar vacaciones durante el periodo de prueba? Sí, en proporción al tiempo trabajado. ¿Qué
ocurre si enfermo durante las vacaciones? Los días de baja no cuentan como vacaciones si se presenta el parte médico.

Pregunta: ¿Hasta cuándo puedo disfrutar los días de vacaciones que no he usado este año?"""

PRICES = """[1] Price list 2026 (net, without VAT)

| Article | Description | 1-9 | 10-49 | 50+ |
|---|---|---|---|---|
| NX-100 | Sensor, indoor | 49.90 € | 44.90 € | 39.90 € |
| NX-120 | Sensor, outdoor, IP67 | 89.00 € | 81.50 € | 74.00 € |
| GW-2 | Gateway, LTE | 319.00 € | 299.00 € | 279.00 € |

[2] Terms: delivery within 3–5 working days; "free of charge" from 500 €. Payment: 30 days net.
\tDiscounts don't add up: the better one counts.  Prices hold until 31/12/2026 … 😀

[3] def unit_price(article, count):
    if count >= 50:
        return PRICES[article][2]
    return PRICES[article][1 if count >= 10 else 0]

Question: What do 12 outdoor sensors cost?"""

CONTRATO = """CONTRATO DE ARRENDAMIENTO DE LOCAL DE NEGOCIO

En Zaragoza, a 14 de mayo de 2024, reunidos de una parte la sociedad Inmuebles del Ebro, S. L., con N.I.F. B-50123456, como
arrendadora, y de otra parte Talleres Monreal, S. A., como arrendataria, acuerdan las siguientes cláusulas.

Primera. Objeto. La arrendadora cede en arrendamiento la nave industrial situada en el polígono Malpica, calle E, parcela 32,
con una superficie de 1.250 metros cuadrados, para su uso como almacén y taller de reparación de maquinaria.

Segunda. Duración. El contrato tendrá una duración de cinco años a contar desde el 1 de junio de 2024 y se prorrogará por
períodos anuales si ninguna de las partes comunica lo contrario con tres meses de antelación.

Tercera. Renta. La renta será de 3.400 euros mensuales más el impuesto sobre el valor añadido, pagaderos dentro de los cinco
primeros días de cada mes. La renta se actualizará cada año conforme al índice de precios al consumo, con un máximo del 3 %.

Cuarta. Fianza. La arrendataria entrega en este acto la cantidad de 6.800 euros como fianza, que se devolverá al término del
contrato una vez comprobado el estado de la nave.

Resume en una frase las obligaciones de pago de la arrendataria."""

HANDBOOK = " ".join(
    f"Rule {n}: {text}"
    for n, text in enumerate(
        [
            "Lock your screen when you leave your desk, even for a minute.",
            "Visitors sign in at the front desk and wear a badge; whoever invited them brings them back to the door.",
            "Keys and badges that are lost are reported at once to facilities, extension 4417.",
            "Meeting rooms are booked in the calendar; a room that stays empty for ten minutes is free again.",
            "The kitchen is everybody's: the dishwasher is started by whoever fills it.",
            "Fire drills take place in April and October. Leave by the stairs and meet at point B in the north car park.",
            "First-aid boxes hang beside the lifts on every floor; what is used is written into the book.",
            "Parking spaces 1 to 12 are for visitors, 13 to 20 have chargers and are shared in turns of four hours.",
            "Parcels for the company are brought to room 0.14; private parcels are not accepted in December.",
            "Bicycles stand in the basement. The door opens with the badge from six in the morning until ten at night.",
        ],
        start=1,
    )
)

PROMPTS = [
    {"id": "en-short", "messages": [{"role": "user", "content": "What is the capital of France?"}]},
    {"id": "es-short", "messages": [{"role": "user", "content": "¿Cuál es la capital de España y qué río pasa por ella?"}]},
    {
        "id": "en-list",
        "messages": [
            {"role": "system", "content": "You are a careful assistant who writes plain English."},
            {"role": "user", "content": "List three reasons why companies keep their data on their own machines."},
        ],
    },
    {
        "id": "es-mail",
        "messages": [
            {"role": "system", "content": "Eres un asistente que escribe en español claro y breve."},
            {"role": "user", "content": "Escribe un correo para pedir una reunión el jueves a las 10:30."},
        ],
    },
    {
        "id": "en-turns",
        "messages": [
            {"role": "user", "content": "My name is Ana and I work in purchasing."},
            {"role": "assistant", "content": "Nice to meet you, Ana. How can I help you?"},
            {"role": "user", "content": "Which department do I work in, and what does it usually do?"},
        ],
    },
    {
        "id": "en-passages",
        "messages": [{"role": "system", "content": PASSAGES_SYSTEM}, {"role": "user", "content": TRAVEL}],
    },
    {
        "id": "es-passages",
        "messages": [{"role": "system", "content": PASSAGES_SYSTEM}, {"role": "user", "content": VACACIONES}],
    },
    {
        "id": "en-table",
        "messages": [{"role": "system", "content": PASSAGES_SYSTEM}, {"role": "user", "content": PRICES}],
    },
    {"id": "es-contract", "messages": [{"role": "user", "content": CONTRATO}]},
    {"id": "en-raw", "raw": f"House rules of the main office.\n\n{HANDBOOK} Rule 11:"},
]


def main():
    path = sys.argv[1]
    llm = llama_cpp.Llama(model_path=path, n_ctx=2048, n_threads=2, verbose=False)
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(llm.metadata["tokenizer.chat_template"])
    cases = []
    for case in PROMPTS:
        prompt = case.get("raw") or template.render(messages=case["messages"], add_generation_prompt=True)
        tokens = llm.tokenize(prompt.encode(), add_bos=False, special=True)
        llm.reset()
        written = []
        for token in llm.generate(tokens, temp=0.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0):
            if llama_cpp.llama_vocab_is_eog(llm._model.vocab, token) or len(written) == TOKENS:
                break
            written.append(token)
        text = llm.detokenize(written, prev_tokens=tokens).decode("utf-8", errors="ignore")
        cases.append(
            {
                "id": case["id"],
                "messages": case.get("messages"),
                "prompt": prompt,
                "tokens": tokens,
                "expected_tokens": written,
                "expected": text,
            }
        )
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    json.dump(
        {"llama_cpp_python": llama_cpp.__version__, "sha256": digest, "max_tokens": TOKENS, "cases": cases},
        sys.stdout,
        ensure_ascii=False,
        indent=1,
    )
    print()


if __name__ == "__main__":
    main()
