// The stores on database servers when connections end at every step, servers go away, and others hold locks.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "mysql_fixture.hpp"
#include "postgres_fixture.hpp"
#include "proxy.hpp"

namespace tidemill::contract {

namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using testing::eventually;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::Proxy;
using ::testing::SizeIs;

template <class Fixture>
class SqlStoreFaults : public Fixture {};

struct NameOf {
  template <class Fixture>
  static std::string GetName(int /*index*/) {
    return std::is_same_v<Fixture, MysqlStoreTest> ? "Mysql" : "Postgres";
  }
};
using Fixtures = ::testing::Types<MysqlStoreTest, PostgresStoreTest>;
TYPED_TEST_SUITE(SqlStoreFaults, Fixtures, NameOf);

// Why: nobody knows what became of a commit whose answer was lost, and a task must be there once all the
// same. How: a proxy cuts the connection, now after the server has got the COMMIT and now before.
TYPED_TEST(SqlStoreFaults, ACommitInDoubtIsResolved) {
  Proxy proxy{TestFixture::shared_server().port()};
  const auto store = open(this->url_by(proxy));
  this->put(*store, plain_task("first"));
  for (int i = 0; i < 5; ++i) {
    proxy.harm(TestFixture::commit, 0);
    EXPECT_EQ(this->put(*store, plain_task(fmt::format("answered{}", i))).put, Put::created);
    EXPECT_TRUE(proxy.harmed());
    proxy.swallow(TestFixture::commit);
    EXPECT_EQ(this->put(*store, plain_task(fmt::format("swallowed{}", i))).put, Put::created);
    EXPECT_TRUE(proxy.harmed());
  }
  EXPECT_EQ(this->counts()[State::pending], 11U);
  EXPECT_EQ(this->count_tasks(), "11");

  const Claimed claimed = this->claim(*store, 100);
  ASSERT_THAT(claimed.leases, SizeIs(11));
  std::vector<Report> reports;
  for (const Lease& lease : claimed.leases) reports.push_back({.lease = &lease, .to = State::gone});
  proxy.harm(TestFixture::commit, 0);
  EXPECT_THAT(store->report(reports, this->call_of(*store)), Each(Reported::applied));
  EXPECT_TRUE(proxy.harmed());
  EXPECT_EQ(this->counts()[State::active], 0U);
}

// Why: when the server can't be asked before the call's deadline, the caller must learn that, and a repeat of
// his call must have the effect of one. How: as above, and the server is away until the call has failed.
TYPED_TEST(SqlStoreFaults, ACallThatIsRepeatedAfterAnUnknownOutcomeHasTheEffectOfOne) {
  Proxy proxy{TestFixture::shared_server().port()};
  const auto store = open(this->url_by(proxy));
  this->put(*store, plain_task("first"));
  const Task wanted = plain_task("a");
  for (const bool arrives : {true, false}) {
    Call one_call = this->call_of(*store);
    one_call.deadline = std::chrono::steady_clock::now() + 2s;
    if (arrives) {
      proxy.harm_always(TestFixture::commit, 0);
    } else {
      proxy.harm_always(TestFixture::commit, 0, true);
    }
    const auto error = this->error_of([&] { store->enqueue({&wanted, 1}, one_call); });
    proxy.heal();
    one_call.deadline = {};
    const auto answers = store->enqueue({&wanted, 1}, one_call);
    if (error) {
      EXPECT_THAT(error->kind(), ::testing::AnyOf(ErrorKind::unknown_outcome, ErrorKind::timed_out))
          << error->what();
      EXPECT_EQ(answers.at(0).put, arrives ? Put::created : Put::exists);
    }
    EXPECT_EQ(this->count_tasks("a"), "1");
  }
  EXPECT_EQ(this->counts()[State::pending], 2U);
}

TYPED_TEST(SqlStoreFaults, ConnectionsThatWereCutWhileIdleAreMadeAnew) {
  this->put(plain_task("a"));
  this->claim(*this->store_);
  this->counts();
  for (int i = 0; i < 3; ++i) {
    this->kill_others();
    EXPECT_EQ(this->put(plain_task(fmt::format("b{}", i))).put, Put::created);
    EXPECT_THAT(this->claim(*this->store_).leases, SizeIs(1));
    EXPECT_EQ(this->counts()[State::active], static_cast<std::uint64_t>(i + 2));
  }
}

// Why: what was acknowledged must be there, and nothing twice, whatever became of the connections. How: every
// connection is ended again and again while threads enqueue and one counts.
TYPED_TEST(SqlStoreFaults, NothingIsLostOrDoubledWhileConnectionsAreEnded) {
  std::atomic<int> acknowledged{0};
  std::atomic<bool> done{false};
  std::jthread killer{[&] {
    for (int next = 3; !done; next += 7) {
      if (!eventually([&] { return acknowledged >= next || done; })) return;
      this->kill_others();
    }
  }};
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        for (std::uint64_t i = 0; i < 60; ++i) {
          const Task one_task = plain_task(fmt::format("{}-{}", t, i));
          const Call same{.now = TimePoint{1s}, .session = 100 + t, .number = i + 1, .deadline = {}};
          for (;;) {
            try {
              const Put answer = this->store_->enqueue({&one_task, 1}, same).at(0).put;
              EXPECT_EQ(answer, Put::created);
              break;
            } catch (const Error& error) {
              EXPECT_THAT(error.kind(), ::testing::AnyOf(ErrorKind::unavailable, ErrorKind::unknown_outcome,
                                                         ErrorKind::timed_out))
                  << error.what();
            }
          }
          ++acknowledged;
        }
      });
    }
  }
  done = true;
  killer.join();
  EXPECT_EQ(acknowledged, 180);
  EXPECT_EQ(this->count_tasks(), "180");
  EXPECT_EQ(this->counts()[State::pending], 180U);
}

TYPED_TEST(SqlStoreFaults, AServerThatIsGoneIsToldAndFoundAgain) {
  typename TestFixture::Server server;
  const auto store = open(server.url());
  EXPECT_EQ(this->put(*store, plain_task("a")).put, Put::created);
  server.stop();
  const auto error = this->error_of([&] {
    store->enqueue({}, {});
    this->claim(*store);
  });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::unavailable);
  server.start();
  EXPECT_THAT(this->claim(*store).leases, SizeIs(1));
}

// Why: somebody's open transaction may hold a unique key, which must not stop others. How: one inserts a key
// and stays open; a batch with that key and another one.
TYPED_TEST(SqlStoreFaults, AKeyInSomebodysOpenTransactionHoldsUpNoOther) {
  this->put(keyed_task("first", "k0"));
  auto foreign = this->connect();
  foreign.begin();
  foreign.execute(TestFixture::take_key);
  const std::vector<Task> tasks{keyed_task("a", "held"), keyed_task("b", "free")};
  const auto answers = this->store_->enqueue(tasks, this->call());
  EXPECT_EQ(answers.at(0).put, Put::failed);
  EXPECT_THAT(answers.at(0).why, HasSubstr("stayed locked by another's transaction"));
  EXPECT_EQ(answers.at(1).put, Put::created);
  EXPECT_EQ(this->put(plain_task("plain")).put, Put::created);
  foreign.rollback();
  EXPECT_EQ(this->put(keyed_task("a", "held")).put, Put::created);
}

TYPED_TEST(SqlStoreFaults, ManyTakeTheSameKeyAndOneGetsIt) {
  std::atomic<int> created{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        const auto own = open(this->url());
        for (int i = 0; i < 25; ++i)
          created += this->put(*own, keyed_task(fmt::format("{}-{}", t, i), fmt::format("k{}", i))).put ==
                     Put::created;
      });
    }
  }
  EXPECT_EQ(created, 25);
  EXPECT_EQ(this->count_tasks(), "25");
}

}  // namespace

}  // namespace tidemill::contract
