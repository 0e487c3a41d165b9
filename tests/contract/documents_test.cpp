// Documents: small texts that are written only over what was seen.
#include <atomic>
#include <barrier>
#include <limits>
#include <thread>

#include <tidemill/documents.hpp>

#include "contract.hpp"
#include "refusal.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using tests::refusal;

class DocumentsContract : public Contract {
 protected:
  void SetUp() override { need({Feature::documents}); }

  Documents& documents() { return *store().documents(); }
  /// The new version; zero: it was not written.
  std::uint64_t put(const Document& document) {
    return documents().put({&document, 1}, call()).at(0).value_or(0);
  }
  std::uint64_t put(const std::string& name, const std::string& text, std::uint64_t version = 0) {
    return put({.folder = "f", .name = name, .text = text, .version = version});
  }
  std::uint64_t put_for(const std::string& name, Duration life, std::uint64_t version = 0) {
    return put({.folder = "f", .name = name, .text = "t", .version = version, .expires_at = now() + life});
  }
  std::optional<Document> get(const std::string& name, const std::string& folder = "f") {
    const DocumentName key{folder, name};
    return documents().get({&key, 1}, call()).at(0);
  }
  bool erase(const std::string& name, std::optional<std::uint64_t> version = {}) {
    const EraseDocument one{"f", name, version};
    return documents().erase({&one, 1}, call()).at(0);
  }
  std::vector<std::string> names(std::string_view folder = "f", std::string_view after = "",
                                 std::size_t limit = 100) {
    std::vector<std::string> names;
    for (const Document& each : documents().list(folder, after, limit, call())) names.push_back(each.name);
    return names;
  }
};

// Why: what comes out must be what went in. How: every field, by name and in a list; all kinds of bytes.
TEST_P(DocumentsContract, Port_ADocumentIsKeptAsItIs) {
  const std::string bytes = std::string("{\"a\":\"'\xc3\x9f\"}\0\xff", 14);
  const std::uint64_t version =
      put({.folder = "f", .name = "n", .text = bytes, .expires_at = now() + 1h + 1us});
  EXPECT_GE(version, static_cast<std::uint64_t>(now().time_since_epoch().count()));
  for (const std::optional<Document>& stored :
       {get("n"), std::optional{documents().list("f", "", 1, call()).at(0)}}) {
    ASSERT_TRUE(stored);
    EXPECT_EQ(stored->folder, "f");
    EXPECT_EQ(stored->name, "n");
    EXPECT_EQ(stored->text, bytes);
    EXPECT_EQ(stored->version, version);
    EXPECT_EQ(stored->expires_at, now() + 1h + 1us);
  }
  EXPECT_GT(put("n", "", version), version);
  EXPECT_EQ(get("n")->text, "");
  EXPECT_EQ(get("n")->expires_at, std::nullopt) << "all of it is written";
}

// Why: two who change a document must not overwrite each other unseen. How: each wrong expectation, then the
// right one.
TEST_P(DocumentsContract, Port_ADocumentIsWrittenOnlyOverWhatWasSeen) {
  EXPECT_EQ(put("n", "x", 1), 0U) << "there is none yet";
  EXPECT_FALSE(get("n"));
  const std::uint64_t first = put("n", "one");
  EXPECT_EQ(put("n", "x"), 0U) << "there is one already";
  EXPECT_EQ(put("n", "x", first + 1), 0U);
  EXPECT_EQ(put("n", "x", first - 1), 0U);
  EXPECT_EQ(put("n", "x", std::numeric_limits<std::uint64_t>::max()), 0U);
  EXPECT_EQ(get("n")->text, "one");
  const std::uint64_t second = put("n", "two", first);
  EXPECT_GT(second, first);
  EXPECT_EQ(put("n", "x", first), 0U) << "that one is written over";
  EXPECT_EQ(get("n")->text, "two");
}

TEST_P(DocumentsContract, Port_ADocumentIsErasedByVersionOrAnyway) {
  EXPECT_FALSE(erase("n"));
  const std::uint64_t first = put("n", "one");
  EXPECT_FALSE(erase("n", first + 1));
  EXPECT_FALSE(erase("n", 0));
  EXPECT_FALSE(erase("m", first));
  EXPECT_TRUE(erase("n", first));
  EXPECT_FALSE(get("n"));
  EXPECT_FALSE(erase("n", first));
  EXPECT_NE(put("n", "two"), 0U);
  EXPECT_TRUE(erase("n"));
  EXPECT_FALSE(get("n"));
}

// Why: a document that has expired is as if it were not there, swept or not. How: around the very instant.
TEST_P(DocumentsContract, Port_ADocumentExpiresAtItsInstant) {
  const std::uint64_t first = put_for("n", 10s);
  put("stays", "t");
  advance(10s - 1us);
  EXPECT_TRUE(get("n"));
  EXPECT_EQ(put("n", "x"), 0U);
  advance(1us);
  EXPECT_FALSE(get("n"));
  EXPECT_THAT(names(), ElementsAre("stays"));
  EXPECT_EQ(put("n", "x", first), 0U);
  EXPECT_FALSE(erase("n", first));
  EXPECT_FALSE(erase("n"));
  EXPECT_GT(put("n", "new"), first) << "zero stands for an expired one, too";
  EXPECT_EQ(get("n")->text, "new");
  EXPECT_NE(put_for("past", -1s), 0U);
  EXPECT_FALSE(get("past"));
}

// Why: expired documents must go, and a sweep is bounded. How: more than its limit.
TEST_P(DocumentsContract, Rule7_ASweepDeletesAtMostItsLimit) {
  for (int i = 0; i < 5; ++i) put_for(std::to_string(i), 1s);
  put_for("later", 1s + 1us);
  put("stays", "t");
  advance(1s);
  EXPECT_TRUE(sweep(3).more);
  EXPECT_FALSE(sweep(3).more);
  EXPECT_FALSE(sweep(3).more);
  EXPECT_THAT(names(), ElementsAre("later", "stays"));
  advance(-1s);
  EXPECT_FALSE(get("0")) << "it is gone for good";
}

// Why: a version that comes twice would let a stale writer through. How: erase, expire, sweep, and turn the
// clock back.
TEST_P(DocumentsContract, Port_VersionsNeverComeTwice) {
  std::uint64_t last = 0;
  const auto next = [&](std::uint64_t version = 0) {
    const std::uint64_t got = put_for("n", 1s, version);
    EXPECT_GT(got, last);
    last = got;
  };
  for (int i = 0; i < 20; ++i) {
    next();
    next(last);
    EXPECT_TRUE(erase("n"));
  }
  next();
  advance(1s);
  next();
  EXPECT_GE(last, static_cast<std::uint64_t>(now().time_since_epoch().count())) << "it follows the time";
  advance(1s);
  sweep();
  advance(-1h);
  next();
  erase("n");
  if (GetParam().durable) reopen();
  next();
}

// Why: each item is answered, and later ones see the earlier. How: batches in which some can't be.
TEST_P(DocumentsContract, Rule6_EachDocumentIsAnswered) {
  const std::vector<Document> puts = {{.folder = "f", .name = "a", .text = "1"},
                                      {.folder = "f", .name = "b", .text = "2", .version = 7},
                                      {.folder = "f", .name = "a", .text = "3"},
                                      {.folder = "g", .name = "a", .text = "4"}};
  const auto versions = documents().put(puts, call());
  ASSERT_EQ(versions.size(), 4U);
  EXPECT_TRUE(versions[0]);
  EXPECT_FALSE(versions[1]);
  EXPECT_FALSE(versions[2]);
  EXPECT_TRUE(versions[3]);
  EXPECT_NE(versions[0], versions[3]);

  const std::vector<DocumentName> wanted = {{"f", "a"}, {"f", "b"}, {"g", "a"}, {"f", "a"}, {"a", "f"}};
  std::vector<std::string> texts;
  for (const auto& each : documents().get(wanted, call())) texts.push_back(each ? each->text : "-");
  EXPECT_THAT(texts, ElementsAre("1", "-", "4", "1", "-"));

  const std::vector<EraseDocument> erased = {{"f", "a", versions[3]}, {"f", "a"}, {"f", "a"}, {"g", "a"}};
  EXPECT_THAT(documents().erase(erased, call()), ElementsAre(false, true, false, true));

  EXPECT_THAT(documents().get({}, call()), IsEmpty());
  EXPECT_THAT(documents().put({}, call()), IsEmpty());
  EXPECT_THAT(documents().erase({}, call()), IsEmpty());
}

TEST_P(DocumentsContract, Port_AFolderIsListedByNamePageByPage) {
  for (const char* name : {"b", "a", "\xc3\xa4", "B", "c"}) put(name, "t");
  put({.folder = "g", .name = "other"});
  put({.folder = "ff", .name = "other"});
  put_for("expired", 0s);
  EXPECT_THAT(names(), ElementsAre("B", "a", "b", "c", "\xc3\xa4"));
  EXPECT_THAT(names("f", "a", 2), ElementsAre("b", "c"));
  EXPECT_THAT(names("f", "bb", 1), ElementsAre("c"));
  EXPECT_THAT(names("f", "", 0), IsEmpty());
  EXPECT_THAT(names("none"), IsEmpty());
  EXPECT_THAT(names("g"), ElementsAre("other"));
}

// Why: names come from anywhere, so any bytes will do. How: each is a document of its own.
TEST_P(DocumentsContract, Port_NamesHaveAnyBytes) {
  const std::vector<std::string> odd = {
      "n",        "n ",           "N",       "n\n", std::string("n\0", 2),  std::string("n\0m", 3),
      "\xff\xfe", "\xe2\x82\xac", "'; DROP", "%",   std::string(4096, 'x'), std::string(4095, 'x') + "y"};
  for (const std::string& name : odd) {
    EXPECT_NE(put(name, name), 0U);
    EXPECT_NE(put({.folder = name, .name = name, .text = "folder"}), 0U);
  }
  EXPECT_EQ(names().size(), odd.size());
  for (const std::string& name : odd) {
    EXPECT_EQ(get(name).value().text, name);
    EXPECT_THAT(names(name), ElementsAre(name));
  }
}

TEST_P(DocumentsContract, Port_WhatMakesNoSenseIsRefused) {
  const std::string long_name(4097, 'x');
  for (const DocumentName& wrong : {DocumentName{"", "n"}, DocumentName{"f", ""},
                                    DocumentName{long_name, "n"}, DocumentName{"f", long_name}}) {
    const std::vector<Document> puts = {{.folder = "f", .name = "good"},
                                        {.folder = wrong.folder, .name = wrong.name}};
    refusal([&] { documents().put(puts, call()); });
    refusal([&] { documents().get({&wrong, 1}, call()); });
    const EraseDocument erased{wrong.folder, wrong.name};
    refusal([&] { documents().erase({&erased, 1}, call()); });
  }
  EXPECT_FALSE(get("good")) << "nothing of the batch is written";
  EXPECT_NE(put("large", std::string(1U << 20U, 'x')), 0U);
  EXPECT_EQ(get("large")->text.size(), 1U << 20U);
  refusal([&] { put("larger", std::string((1U << 20U) + 1, 'x')); });
}

// Why: an idempotency key has one first user, however many ask at once. How: threads count up one document,
// each try over what it has read.
TEST_P(DocumentsContract, Rule10_OneOfManyWritersGetsThrough) {
  constexpr int thread_count = 4;
  constexpr int turns = 100;
  std::atomic<int> first{0};
  {
    std::barrier start{thread_count};
    std::vector<std::jthread> threads;
    for (int i = 0; i < thread_count; ++i) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        if (put("n", "0") != 0) ++first;
        for (int turn = 0; turn < turns;) {
          const auto read = get("n");
          turn += put("n", std::to_string(std::stoi(read->text) + 1), read->version) != 0 ? 1 : 0;
        }
      });
    }
  }
  EXPECT_EQ(first, 1);
  EXPECT_EQ(get("n")->text, std::to_string(thread_count * turns));
}

INSTANTIATE_TEST_SUITE_P(Stores, DocumentsContract, testing::ValuesIn(backends()), name_of);

class DurableDocumentsContract : public DocumentsContract {};

TEST_P(DurableDocumentsContract, Rule1_DocumentsSurviveARestart) {
  const std::uint64_t version = put("n", "text");
  put_for("short", 1s);
  advance(1s);
  reopen();
  ASSERT_TRUE(get("n"));
  EXPECT_EQ(get("n")->text, "text");
  EXPECT_FALSE(get("short"));
  EXPECT_EQ(put("n", "x"), 0U);
  EXPECT_GT(put("n", "new", version), version);
}

INSTANTIATE_TEST_SUITE_P(Stores, DurableDocumentsContract, testing::ValuesIn(durable_backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
