"""The wording of the demo corpus: every question and passage, in each of its languages, before names are filled in.

Knows: how a relation is asked about and stated in each language. Does not know: any fact, name or split.

To review a language, read its block. `relation ? question | question` gives the paraphrases of a question,
`relation = passage` the passage. Country names inflect, take articles or harmonise their vowels in many languages, and
Unicode CLDR gives only the citation form, so names stand alone beside a colon or in quotation marks.
"""
# ruff: noqa: E501 - a table reads best with one line per entry

from typing import NamedTuple


class Template(NamedTuple):
    """One relation in one language. Questions hold `{entity}`; the passage holds `{entity}` and `{answer}`."""

    questions: tuple[str, ...]
    passage: str


TERRITORY_RELATIONS = ("currency", "official", "script", "week", "clock", "time")
LANGUAGE_RELATIONS = ("writing", "home", "language_code")
CURRENCY_RELATIONS = ("currency_code", "decimals")
RELATIONS = TERRITORY_RELATIONS + LANGUAGE_RELATIONS + CURRENCY_RELATIONS

_BLOCKS = {
    "ar": """
currency ? {entity}: ما العملة المستخدمة هناك؟ | بأي نقود يدفع الناس في هذا البلد أو الإقليم: {entity}؟
currency = {entity}: العملة المتداولة هناك هي «{answer}». تُحسب بها الأسعار والأجور.
official ? {entity}: ما اللغات التي لها صفة رسمية هناك؟ | بأي لغة تصدر القوانين في هذا البلد أو الإقليم: {entity}؟
official = {entity}: الصفة الرسمية هناك ممنوحة لما يلي: {answer}. بها تُنشر القوانين والإعلانات العامة.
script ? {entity}: ما نوع الخط الذي تُكتب به النصوص الرسمية؟ | بأي حروف تُكتب لافتات الشوارع الرسمية هنا: {entity}؟
script = {entity}: نظام الكتابة في الوثائق الرسمية هناك: {answer}.
week ? {entity}: في أي يوم يبدأ الأسبوع هناك؟ | ما أول يوم في تقويم هذا البلد أو الإقليم: {entity}؟
week = {entity}: أول أيام الأسبوع في التقويم هناك: {answer}.
clock ? {entity}: ما المدينة التي تحمل اسمها المنطقة الزمنية هناك؟ | على ساعة أي مدينة يسير هذا البلد أو الإقليم: {entity}؟
clock = {entity}: المدينة المرجعية للمنطقة الزمنية هي {answer}. تُضبط الساعات عليها.
time ? {entity}: ماذا يسمى التوقيت الرسمي هناك؟ | وفق أي توقيت يعيش الناس في هذا البلد أو الإقليم: {entity}؟
time = {entity}: يُعرف التوقيت المعتمد خارج فترة التوقيت الصيفي باسم «{answer}».
writing ? بأي خط تُكتب هذه اللغة عادة: {entity}؟ | اللغة: {entity}. ما نظام كتابتها؟
writing = اسم اللغة: {entity}. تُكتب عادة بهذا الخط: {answer}.
home ? بأي بلد ترتبط هذه اللغة أولاً: {entity}؟ | اللغة: {entity}. ما موطنها الأول؟
home = اسم اللغة: {entity}. تربطها بيانات يونيكود قبل كل شيء بهذا البلد أو الإقليم: {answer}.
language_code ? ما الرمز القصير لهذه اللغة: {entity}؟ | اللغة: {entity}. كيف يُختصر اسمها في معيار ISO 639؟
language_code = اسم اللغة: {entity}. رمزها في معيار ISO 639 هو {answer}.
currency_code ? ما رمز هذه العملة المؤلف من ثلاثة أحرف: {entity}؟ | العملة: {entity}. كيف تُختصر في معيار ISO 4217؟
currency_code = اسم العملة: {entity}. تستخدم المصارف الرمز {answer} للدلالة عليها.
decimals ? كم منزلة عشرية تُكتب في مبالغ هذه العملة: {entity}؟ | العملة: {entity}. كم رقماً يأتي بعد الفاصلة؟
decimals = اسم العملة: {entity}. عدد الأرقام بعد الفاصلة في المبالغ: {answer}.
""",
    "de": """
currency ? {entity}: Welche Währung gilt dort? | Mit welchem Geld zahlt man in diesem Land oder Gebiet: {entity}?
currency = {entity}: Das dortige Zahlungsmittel heißt „{answer}“. Preise und Löhne werden darin gerechnet.
official ? {entity}: Welche Sprachen sind dort amtlich? | In welcher Sprache erscheinen Gesetze in diesem Land oder Gebiet: {entity}?
official = {entity}: Amtlichen Rang hat dort: {answer}. So erscheinen Gesetze und Bekanntmachungen.
script ? {entity}: In welcher Schrift sind amtliche Texte verfasst? | Welche Buchstaben stehen auf amtlichen Schildern hier: {entity}?
script = {entity}: Schriftsystem der dortigen Urkunden und Schilder: {answer}.
week ? {entity}: Mit welchem Tag beginnt dort die Woche? | Welcher Tag steht im Kalender dieses Landes oder Gebiets vorn: {entity}?
week = {entity}: Die Kalenderwoche fängt dort mit diesem Tag an: {answer}.
clock ? {entity}: Nach welcher Stadt ist die dortige Zeitzone benannt? | Nach den Uhren welcher Stadt richtet sich dieses Land oder Gebiet: {entity}?
clock = {entity}: Bezugsort der Zeitzone ist {answer}. Danach werden die Uhren gestellt.
time ? {entity}: Wie heißt dort die Normalzeit? | Welche Zeit gilt außerhalb der Sommerzeit in diesem Land oder Gebiet: {entity}?
time = {entity}: Die Uhren zeigen im Winter die Zeit mit dem Namen „{answer}“.
writing ? In welcher Schrift schreibt man diese Sprache meist: {entity}? | Sprache: {entity}. Welche Buchstaben verwendet sie?
writing = Name der Sprache: {entity}. Geschrieben wird sie üblicherweise so: {answer}.
home ? Mit welchem Land ist diese Sprache zuerst verbunden: {entity}? | Sprache: {entity}. Wo ist sie vor allem zu Hause?
home = Name der Sprache: {entity}. Die Unicode-Daten ordnen sie zuerst diesem Land oder Gebiet zu: {answer}.
language_code ? Welches Kürzel hat diese Sprache: {entity}? | Sprache: {entity}. Wie wird sie in der Norm ISO 639 abgekürzt?
language_code = Name der Sprache: {entity}. In der Norm ISO 639 steht dafür {answer}.
currency_code ? Welchen Code aus drei Buchstaben hat diese Währung: {entity}? | Währung: {entity}. Wie lautet die Abkürzung nach ISO 4217?
currency_code = Name der Währung: {entity}. Banken schreiben dafür {answer}.
decimals ? Wie viele Nachkommastellen haben Beträge in dieser Währung: {entity}? | Währung: {entity}. Wie viele Ziffern folgen dem Komma?
decimals = Name der Währung: {entity}. Zahl der Ziffern hinter dem Komma: {answer}.
""",
    "el": """
currency ? {entity}: ποιο νόμισμα ισχύει εκεί; | Με τι χρήματα πληρώνουν σε αυτή τη χώρα ή περιοχή: {entity};
currency = {entity}: το χρήμα που κυκλοφορεί εκεί λέγεται «{answer}». Σε αυτό υπολογίζονται τιμές και μισθοί.
official ? {entity}: ποιες γλώσσες είναι επίσημες εκεί; | Σε ποια γλώσσα εκδίδονται οι νόμοι σε αυτή τη χώρα ή περιοχή: {entity};
official = {entity}: επίσημη αναγνώριση έχουν εκεί τα εξής: {answer}. Έτσι δημοσιεύονται νόμοι και ανακοινώσεις.
script ? {entity}: με ποια γραφή συντάσσονται τα επίσημα κείμενα; | Τι γράμματα έχουν οι επίσημες πινακίδες εδώ: {entity};
script = {entity}: σύστημα γραφής στα δημόσια έγγραφα: {answer}.
week ? {entity}: με ποια ημέρα αρχίζει η εβδομάδα εκεί; | Ποια ημέρα είναι πρώτη στο ημερολόγιο αυτής της χώρας ή περιοχής: {entity};
week = {entity}: πρώτη στη σειρά των ημερών του ημερολογίου: {answer}.
clock ? {entity}: από ποια πόλη ονομάζεται η ζώνη ώρας; | Ποιας πόλης τα ρολόγια ακολουθεί αυτή η χώρα ή περιοχή: {entity};
clock = {entity}: πόλη αναφοράς της ζώνης ώρας: {answer}. Έτσι ρυθμίζονται τα ρολόγια.
time ? {entity}: πώς λέγεται η κανονική ώρα εκεί; | Ποια ώρα ισχύει τον χειμώνα σε αυτή τη χώρα ή περιοχή: {entity};
time = {entity}: όταν δεν ισχύει θερινή ώρα, τα ρολόγια δείχνουν «{answer}».
writing ? Με ποια γραφή γράφεται συνήθως αυτή η γλώσσα: {entity}; | Γλώσσα: {entity}. Τι γράμματα χρησιμοποιεί;
writing = Όνομα γλώσσας: {entity}. Το συνηθισμένο σύστημα γραφής της: {answer}.
home ? Με ποια χώρα συνδέεται πρώτα αυτή η γλώσσα: {entity}; | Γλώσσα: {entity}. Πού βρίσκεται κυρίως η πατρίδα της;
home = Όνομα γλώσσας: {entity}. Τα δεδομένα Unicode τη συνδέουν πρώτα με αυτή τη χώρα ή περιοχή: {answer}.
language_code ? Ποιος είναι ο σύντομος κωδικός αυτής της γλώσσας: {entity}; | Γλώσσα: {entity}. Πώς συντομεύεται στο πρότυπο ISO 639;
language_code = Όνομα γλώσσας: {entity}. Στο πρότυπο ISO 639 σημειώνεται ως {answer}.
currency_code ? Ποιος είναι ο κωδικός τριών γραμμάτων αυτού του νομίσματος: {entity}; | Νόμισμα: {entity}. Πώς συντομεύεται στο πρότυπο ISO 4217;
currency_code = Όνομα νομίσματος: {entity}. Οι τράπεζες το γράφουν {answer}.
decimals ? Πόσα δεκαδικά ψηφία έχουν τα ποσά σε αυτό το νόμισμα: {entity}; | Νόμισμα: {entity}. Πόσα ψηφία ακολουθούν την υποδιαστολή;
decimals = Όνομα νομίσματος: {entity}. Πλήθος ψηφίων μετά την υποδιαστολή: {answer}.
""",
    "en": """
currency ? {entity}: which currency is used there? | What money do people pay with in this country or territory: {entity}?
currency = {entity}: the money in circulation there is called “{answer}”. Prices and wages are counted in it.
official ? {entity}: which languages are official there? | In what language are laws published in this country or territory: {entity}?
official = {entity}: official status there belongs to {answer}. Laws and public notices appear that way.
script ? {entity}: in which script are official texts written? | What letters are on official signs here: {entity}?
script = {entity}: the writing system of public documents there is {answer}.
week ? {entity}: on which day does the week begin there? | Which day comes first in the calendar of this country or territory: {entity}?
week = {entity}: calendars there open each week with {answer}.
clock ? {entity}: after which city is the time zone named? | Which city's clocks does this country or territory follow: {entity}?
clock = {entity}: the reference city of the time zone is {answer}. Clocks are set by it.
time ? {entity}: what is standard time called there? | What time is kept outside summer time in this country or territory: {entity}?
time = {entity}: the hour that clocks show in winter is known as “{answer}”.
writing ? In which script is this language usually written: {entity}? | Language: {entity}. What letters does it use?
writing = Name of the language: {entity}. Its usual writing system is {answer}.
home ? With which country is this language linked first: {entity}? | Language: {entity}. Where is its main home?
home = Name of the language: {entity}. The Unicode data link it first of all to this country or territory: {answer}.
language_code ? What is the short code of this language: {entity}? | Language: {entity}. How does ISO 639 abbreviate it?
language_code = Name of the language: {entity}. It is marked as {answer} in the standard ISO 639.
currency_code ? What is the three-letter code of this currency: {entity}? | Currency: {entity}. How does ISO 4217 abbreviate it?
currency_code = Name of the currency: {entity}. Banks write {answer} for it.
decimals ? How many decimal places do amounts in this currency have: {entity}? | Currency: {entity}. How many digits follow the decimal point?
decimals = Name of the currency: {entity}. Number of digits after the point: {answer}.
""",
    "es": """
currency ? {entity}: ¿qué moneda se usa allí? | ¿Con qué dinero se paga en este país o territorio: {entity}?
currency = {entity}: el dinero que circula allí se llama «{answer}». En él se calculan los precios y los sueldos.
official ? {entity}: ¿qué idiomas son oficiales allí? | ¿En qué idioma se publican las leyes en este país o territorio: {entity}?
official = {entity}: allí tiene rango oficial lo siguiente: {answer}. Así se publican las leyes y los avisos.
script ? {entity}: ¿en qué escritura se redactan los textos oficiales? | ¿Qué letras llevan los letreros oficiales aquí: {entity}?
script = {entity}: sistema de escritura de los documentos públicos: {answer}.
week ? {entity}: ¿qué día empieza allí la semana? | ¿Qué día va primero en el calendario de este país o territorio: {entity}?
week = {entity}: los calendarios de allí abren cada semana con este día: {answer}.
clock ? {entity}: ¿qué ciudad da nombre al huso horario? | ¿Los relojes de qué ciudad sigue este país o territorio: {entity}?
clock = {entity}: la ciudad de referencia del huso horario es {answer}. Los relojes se ajustan a ella.
time ? {entity}: ¿cómo se llama allí la hora estándar? | ¿Qué hora rige fuera del verano en este país o territorio: {entity}?
time = {entity}: lo que marcan los relojes en invierno se conoce como «{answer}».
writing ? ¿En qué escritura se escribe normalmente este idioma: {entity}? | Idioma: {entity}. ¿Qué letras utiliza?
writing = Nombre del idioma: {entity}. Su sistema de escritura habitual: {answer}.
home ? ¿Con qué país se relaciona primero este idioma: {entity}? | Idioma: {entity}. ¿Cuál es su tierra principal?
home = Nombre del idioma: {entity}. Los datos de Unicode lo vinculan ante todo con este país o territorio: {answer}.
language_code ? ¿Cuál es el código corto de este idioma: {entity}? | Idioma: {entity}. ¿Cómo lo abrevia la norma ISO 639?
language_code = Nombre del idioma: {entity}. En la norma ISO 639 se indica como {answer}.
currency_code ? ¿Cuál es el código de tres letras de esta moneda: {entity}? | Moneda: {entity}. ¿Cómo la abrevia la norma ISO 4217?
currency_code = Nombre de la moneda: {entity}. Los bancos la escriben {answer}.
decimals ? ¿Cuántos decimales tienen los importes en esta moneda: {entity}? | Moneda: {entity}. ¿Cuántas cifras siguen a la coma?
decimals = Nombre de la moneda: {entity}. Número de cifras después de la coma: {answer}.
""",
    "hi": """
currency ? {entity}: वहाँ कौन-सी मुद्रा चलती है? | इस देश या क्षेत्र में लोग किस पैसे से भुगतान करते हैं: {entity}?
currency = {entity}: वहाँ चलने वाली मुद्रा का नाम “{answer}” है। दाम और वेतन इसी में गिने जाते हैं।
official ? {entity}: वहाँ कौन-सी भाषाएँ आधिकारिक हैं? | इस देश या क्षेत्र के क़ानून किस भाषा में छपते हैं: {entity}?
official = {entity}: वहाँ आधिकारिक दर्जा इन्हें प्राप्त है: {answer}। क़ानून और सरकारी सूचनाएँ इसी तरह छपती हैं।
script ? {entity}: वहाँ सरकारी लेख किस लिपि में लिखे जाते हैं? | यहाँ के सरकारी बोर्डों पर कौन-से अक्षर होते हैं: {entity}?
script = {entity}: वहाँ के सार्वजनिक दस्तावेज़ों की लिपि: {answer}।
week ? {entity}: वहाँ सप्ताह किस दिन शुरू होता है? | इस देश या क्षेत्र के कैलेंडर में पहला दिन कौन-सा है: {entity}?
week = {entity}: वहाँ के कैलेंडर में हर सप्ताह का पहला दिन: {answer}।
clock ? {entity}: वहाँ के समय क्षेत्र का नाम किस शहर पर है? | यह देश या क्षेत्र किस शहर की घड़ियों पर चलता है: {entity}?
clock = {entity}: समय क्षेत्र का संदर्भ शहर {answer} है। घड़ियाँ उसी के अनुसार मिलाई जाती हैं।
time ? {entity}: वहाँ के मानक समय को क्या कहते हैं? | गर्मी के समय को छोड़कर इस देश या क्षेत्र में कौन-सा समय चलता है: {entity}?
time = {entity}: सर्दियों में घड़ियाँ जो समय दिखाती हैं, उसका नाम “{answer}” है।
writing ? यह भाषा आम तौर पर किस लिपि में लिखी जाती है: {entity}? | भाषा: {entity}। इसमें कौन-से अक्षर काम आते हैं?
writing = भाषा का नाम: {entity}। इसकी सामान्य लिपि: {answer}।
home ? यह भाषा सबसे पहले किस देश से जुड़ी है: {entity}? | भाषा: {entity}। इसका मुख्य घर कहाँ है?
home = भाषा का नाम: {entity}। यूनिकोड के आँकड़े इसे सबसे पहले इस देश या क्षेत्र से जोड़ते हैं: {answer}।
language_code ? इस भाषा का छोटा कोड क्या है: {entity}? | भाषा: {entity}। ISO 639 में इसका संक्षेप क्या है?
language_code = भाषा का नाम: {entity}। मानक ISO 639 में इसे {answer} लिखते हैं।
currency_code ? इस मुद्रा का तीन अक्षरों वाला कोड क्या है: {entity}? | मुद्रा: {entity}। ISO 4217 में इसका संक्षेप क्या है?
currency_code = मुद्रा का नाम: {entity}। बैंक इसके लिए {answer} लिखते हैं।
decimals ? इस मुद्रा की रक़म में दशमलव के कितने स्थान होते हैं: {entity}? | मुद्रा: {entity}। दशमलव बिंदु के बाद कितने अंक आते हैं?
decimals = मुद्रा का नाम: {entity}। बिंदु के बाद अंकों की संख्या: {answer}।
""",
    "ru": """
currency ? {entity}: какая валюта там в ходу? | Какими деньгами платят в этой стране или на этой территории: {entity}?
currency = {entity}: находящиеся там в обращении деньги называются «{answer}». В них считают цены и зарплаты.
official ? {entity}: какие языки там официальные? | На каком языке издают законы в этой стране или на этой территории: {entity}?
official = {entity}: официальный статус там имеет следующее: {answer}. Так публикуют законы и объявления властей.
script ? {entity}: каким письмом пишут там официальные тексты? | Какие буквы на здешних официальных вывесках: {entity}?
script = {entity}: письменность государственных документов: {answer}.
week ? {entity}: с какого дня там начинается неделя? | Какой день стоит первым в календаре этой страны или территории: {entity}?
week = {entity}: первый столбец недели в тамошнем календаре: {answer}.
clock ? {entity}: по какому городу назван часовой пояс? | По часам какого города живёт эта страна или территория: {entity}?
clock = {entity}: опорный город часового пояса: {answer}. По нему ставят часы.
time ? {entity}: как называется там стандартное время? | Какое время действует зимой в этой стране или на этой территории: {entity}?
time = {entity}: часы вне летнего периода показывают время под названием «{answer}».
writing ? Каким письмом обычно пишут на этом языке: {entity}? | Язык: {entity}. Какие у него буквы?
writing = Название языка: {entity}. Его обычная письменность: {answer}.
home ? С какой страной прежде всего связан этот язык: {entity}? | Язык: {entity}. Где его главная родина?
home = Название языка: {entity}. Данные Юникода связывают его прежде всего с этой страной или территорией: {answer}.
language_code ? Какой краткий код у этого языка: {entity}? | Язык: {entity}. Как его сокращают в стандарте ISO 639?
language_code = Название языка: {entity}. В стандарте ISO 639 его обозначают {answer}.
currency_code ? Какой трёхбуквенный код у этой валюты: {entity}? | Валюта: {entity}. Как её сокращают в стандарте ISO 4217?
currency_code = Название валюты: {entity}. Банки обозначают её {answer}.
decimals ? Сколько знаков после запятой у сумм в этой валюте: {entity}? | Валюта: {entity}. Сколько цифр следует за запятой?
decimals = Название валюты: {entity}. Число цифр после запятой: {answer}.
""",
    "th": """
currency ? {entity}: ที่นั่นใช้สกุลเงินอะไร | ผู้คนในประเทศหรือดินแดนนี้จ่ายด้วยเงินอะไร: {entity}
currency = {entity}: เงินที่หมุนเวียนอยู่ที่นั่นเรียกว่า “{answer}” ราคาสินค้าและค่าจ้างคิดเป็นเงินนี้
official ? {entity}: ที่นั่นมีภาษาใดเป็นภาษาราชการ | กฎหมายของประเทศหรือดินแดนนี้ประกาศเป็นภาษาใด: {entity}
official = {entity}: ภาษาที่มีสถานะทางราชการที่นั่นคือ {answer} กฎหมายและประกาศของรัฐเขียนเช่นนี้
script ? {entity}: เอกสารราชการที่นั่นเขียนด้วยอักษรอะไร | ป้ายราชการที่นี่ใช้ตัวอักษรแบบใด: {entity}
script = {entity}: ระบบการเขียนของเอกสารสาธารณะที่นั่นคือ {answer}
week ? {entity}: สัปดาห์ที่นั่นเริ่มต้นวันใด | วันใดมาก่อนในปฏิทินของประเทศหรือดินแดนนี้: {entity}
week = {entity}: ปฏิทินที่นั่นเปิดสัปดาห์ด้วย{answer}
clock ? {entity}: เขตเวลาที่นั่นตั้งชื่อตามเมืองใด | ประเทศหรือดินแดนนี้ใช้เวลาตามนาฬิกาของเมืองใด: {entity}
clock = {entity}: เมืองอ้างอิงของเขตเวลาคือ {answer} นาฬิกาตั้งตามเมืองนั้น
time ? {entity}: เวลามาตรฐานที่นั่นเรียกว่าอะไร | นอกฤดูร้อนประเทศหรือดินแดนนี้ใช้เวลาใด: {entity}
time = {entity}: เวลาที่นาฬิกาแสดงในฤดูหนาวมีชื่อว่า “{answer}”
writing ? ปกติภาษานี้เขียนด้วยอักษรอะไร: {entity} | ภาษา: {entity} ใช้ตัวอักษรแบบใด
writing = ชื่อภาษา: {entity} ระบบการเขียนที่ใช้ตามปกติคือ {answer}
home ? ภาษานี้เชื่อมโยงกับประเทศใดเป็นอันดับแรก: {entity} | ภาษา: {entity} มีถิ่นหลักอยู่ที่ใด
home = ชื่อภาษา: {entity} ข้อมูลยูนิโค้ดเชื่อมโยงภาษานี้กับประเทศหรือดินแดนนี้ก่อนที่อื่น: {answer}
language_code ? รหัสย่อของภาษานี้คืออะไร: {entity} | ภาษา: {entity} มาตรฐาน ISO 639 ย่อว่าอย่างไร
language_code = ชื่อภาษา: {entity} ในมาตรฐาน ISO 639 เขียนแทนด้วย {answer}
currency_code ? รหัสสามตัวอักษรของสกุลเงินนี้คืออะไร: {entity} | สกุลเงิน: {entity} มาตรฐาน ISO 4217 ย่อว่าอย่างไร
currency_code = ชื่อสกุลเงิน: {entity} ธนาคารเขียนแทนด้วย {answer}
decimals ? จำนวนเงินในสกุลนี้มีทศนิยมกี่ตำแหน่ง: {entity} | สกุลเงิน: {entity} มีตัวเลขกี่หลักหลังจุดทศนิยม
decimals = ชื่อสกุลเงิน: {entity} จำนวนหลักหลังจุดคือ {answer}
""",
    "tr": """
currency ? {entity}: Orada hangi para birimi kullanılıyor? | Bu ülkede veya bölgede insanlar hangi parayla ödeme yapar: {entity}?
currency = {entity}: Orada dolaşımdaki paranın adı “{answer}”. Fiyatlar ve ücretler bununla hesaplanır.
official ? {entity}: Orada hangi diller resmî? | Bu ülkede veya bölgede yasalar hangi dilde yayımlanır: {entity}?
official = {entity}: Orada resmî statüsü olan: {answer}. Yasalar ve duyurular böyle yayımlanır.
script ? {entity}: Orada resmî metinler hangi yazıyla yazılır? | Buradaki resmî tabelalarda hangi harfler var: {entity}?
script = {entity}: Kamu belgelerinin yazı sistemi: {answer}.
week ? {entity}: Orada hafta hangi gün başlar? | Bu ülkenin veya bölgenin takviminde ilk gün hangisi: {entity}?
week = {entity}: Oradaki takvimlerde haftayı açan gün: {answer}.
clock ? {entity}: Saat dilimi hangi şehrin adını taşır? | Bu ülke veya bölge hangi şehrin saatine uyar: {entity}?
clock = {entity}: Saat diliminin başvuru şehri: {answer}. Saatler buna göre kurulur.
time ? {entity}: Orada standart saatin adı ne? | Yaz saati dışında bu ülkede veya bölgede hangi saat geçerli: {entity}?
time = {entity}: Kışın saatlerin gösterdiği zaman “{answer}” diye bilinir.
writing ? Bu dil genellikle hangi yazıyla yazılır: {entity}? | Dil: {entity}. Hangi harfleri kullanır?
writing = Dilin adı: {entity}. Alışılmış yazı sistemi: {answer}.
home ? Bu dil önce hangi ülkeyle ilişkilidir: {entity}? | Dil: {entity}. Asıl yurdu neresi?
home = Dilin adı: {entity}. Unicode verileri onu önce şu ülkeye veya bölgeye bağlar: {answer}.
language_code ? Bu dilin kısa kodu nedir: {entity}? | Dil: {entity}. ISO 639 standardında nasıl kısaltılır?
language_code = Dilin adı: {entity}. ISO 639 standardındaki gösterimi: {answer}.
currency_code ? Bu para biriminin üç harfli kodu nedir: {entity}? | Para birimi: {entity}. ISO 4217 standardında nasıl kısaltılır?
currency_code = Para biriminin adı: {entity}. Bankalar bunun için {answer} yazar.
decimals ? Bu para biriminde tutarlar kaç ondalık basamakla yazılır: {entity}? | Para birimi: {entity}. Virgülden sonra kaç rakam gelir?
decimals = Para biriminin adı: {entity}. Virgülden sonraki rakam sayısı: {answer}.
""",
    "vi": """
currency ? {entity}: ở đó dùng đơn vị tiền tệ nào? | Người dân trả bằng tiền gì ở quốc gia hoặc vùng lãnh thổ này: {entity}?
currency = {entity}: tiền lưu hành ở đó có tên là “{answer}”. Giá cả và tiền lương được tính bằng tiền này.
official ? {entity}: ở đó những ngôn ngữ nào là chính thức? | Luật được ban hành bằng tiếng gì ở quốc gia hoặc vùng lãnh thổ này: {entity}?
official = {entity}: có địa vị chính thức ở đó là {answer}. Luật và thông báo được công bố như vậy.
script ? {entity}: văn bản chính thức ở đó viết bằng hệ chữ nào? | Biển hiệu của nhà nước ở đây dùng loại chữ gì: {entity}?
script = {entity}: hệ thống chữ viết của giấy tờ công là {answer}.
week ? {entity}: ở đó tuần bắt đầu vào ngày nào? | Ngày nào đứng đầu trong lịch của quốc gia hoặc vùng lãnh thổ này: {entity}?
week = {entity}: lịch ở đó mở đầu mỗi tuần bằng {answer}.
clock ? {entity}: múi giờ ở đó mang tên thành phố nào? | Quốc gia hoặc vùng lãnh thổ này theo đồng hồ của thành phố nào: {entity}?
clock = {entity}: thành phố chuẩn của múi giờ là {answer}. Đồng hồ được chỉnh theo đó.
time ? {entity}: giờ chuẩn ở đó gọi là gì? | Ngoài mùa hè, quốc gia hoặc vùng lãnh thổ này dùng giờ nào: {entity}?
time = {entity}: giờ mà đồng hồ chỉ vào mùa đông được gọi là “{answer}”.
writing ? Ngôn ngữ này thường được viết bằng hệ chữ nào: {entity}? | Ngôn ngữ: {entity}. Nó dùng loại chữ gì?
writing = Tên ngôn ngữ: {entity}. Hệ thống chữ viết thường dùng: {answer}.
home ? Ngôn ngữ này trước hết gắn với nước nào: {entity}? | Ngôn ngữ: {entity}. Quê hương chính của nó ở đâu?
home = Tên ngôn ngữ: {entity}. Dữ liệu Unicode gắn nó trước hết với quốc gia hoặc vùng lãnh thổ này: {answer}.
language_code ? Mã ngắn của ngôn ngữ này là gì: {entity}? | Ngôn ngữ: {entity}. Tiêu chuẩn ISO 639 viết tắt thế nào?
language_code = Tên ngôn ngữ: {entity}. Trong tiêu chuẩn ISO 639, nó được ghi là {answer}.
currency_code ? Mã ba chữ cái của đồng tiền này là gì: {entity}? | Tiền tệ: {entity}. Tiêu chuẩn ISO 4217 viết tắt thế nào?
currency_code = Tên đồng tiền: {entity}. Ngân hàng ghi nó là {answer}.
decimals ? Số tiền bằng đồng tiền này có mấy chữ số thập phân: {entity}? | Tiền tệ: {entity}. Có bao nhiêu chữ số sau dấu phẩy?
decimals = Tên đồng tiền: {entity}. Số lượng chữ số sau dấu phẩy: {answer}.
""",
    "zh": """
currency ? {entity}：那里使用什么货币？ | 在这个国家或地区，人们用什么钱付款：{entity}？
currency = {entity}：当地流通的钱叫做“{answer}”。物价和工资都用它计算。
official ? {entity}：那里的官方语言是什么？ | 这个国家或地区的法律用什么语言颁布：{entity}？
official = {entity}：在当地具有官方地位的是{answer}。法律和公告以此发布。
script ? {entity}：当地的官方文本用哪种文字书写？ | 这里的官方标牌上是哪种字母或文字：{entity}？
script = {entity}：当地公文的书写系统是{answer}。
week ? {entity}：那里一周从哪一天开始？ | 在这个国家或地区的日历上，哪一天排在最前：{entity}？
week = {entity}：当地日历每周的第一天是{answer}。
clock ? {entity}：当地时区以哪座城市命名？ | 这个国家或地区按哪座城市的时钟计时：{entity}？
clock = {entity}：时区的参照城市是{answer}。钟表都按它校准。
time ? {entity}：当地的标准时间叫什么？ | 不实行夏令时的时候，这个国家或地区采用什么时间：{entity}？
time = {entity}：冬天钟表所显示的时间称为“{answer}”。
writing ? 这种语言通常用哪种文字书写：{entity}？ | 语言：{entity}。它使用什么字母或文字？
writing = 语言名称：{entity}。它常用的书写系统是{answer}。
home ? 这种语言首先与哪个国家相关：{entity}？ | 语言：{entity}。它的主要故乡在哪里？
home = 语言名称：{entity}。统一码数据首先把它与这个国家或地区联系起来：{answer}。
language_code ? 这种语言的简短代码是什么：{entity}？ | 语言：{entity}。ISO 639 标准怎样缩写它？
language_code = 语言名称：{entity}。在 ISO 639 标准中记作 {answer}。
currency_code ? 这种货币的三字母代码是什么：{entity}？ | 货币：{entity}。ISO 4217 标准怎样缩写它？
currency_code = 货币名称：{entity}。银行把它写作 {answer}。
decimals ? 这种货币的金额有几位小数：{entity}？ | 货币：{entity}。小数点后面有几位数字？
decimals = 货币名称：{entity}。小数点后的位数是 {answer}。
""",
}

LANGUAGES = tuple(_BLOCKS)


def _parse(block: str) -> dict[str, Template]:
    questions: dict[str, tuple[str, ...]] = {}
    passages: dict[str, str] = {}
    for line in block.strip().splitlines():
        relation, mark, text = line.split(" ", 2)
        if mark == "?":
            questions[relation] = tuple(text.split(" | "))
        else:
            passages[relation] = text
    return {relation: Template(questions[relation], passages[relation]) for relation in RELATIONS}


TEMPLATES: dict[str, dict[str, Template]] = {lang: _parse(block) for lang, block in _BLOCKS.items()}
"""language -> relation -> its wording"""
