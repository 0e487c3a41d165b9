#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "fixture.hpp"

namespace tidemill::postgres::tests {

class PostgresListener : public PostgresTest {
 protected:
  static std::string next(Listener& listener) {
    std::string all;
    for (const Notification& one : listener.wait(soon())) all += one.channel + "=" + one.payload + ";";
    return all;
  }
};

TEST_F(PostgresListener, HearsWhatItListensTo) {
  const std::vector<std::string> channels{"one", "The \"other\""};
  Listener listener{options(server().url()), channels};
  direct->execute("NOTIFY one, 'first'; NOTIFY two; NOTIFY \"The \"\"other\"\"\"");
  std::string heard = next(listener);
  if (heard == "one=first;") heard += next(listener);
  EXPECT_EQ(heard, "one=first;The \"other\"=;");
  // Only with the commit.
  direct->begin();
  direct->execute("NOTIFY one");
  EXPECT_TRUE(listener.wait(std::chrono::steady_clock::now()).empty());
  direct->commit();
  EXPECT_EQ(next(listener), "one=;");
}

TEST_F(PostgresListener, IsWoken) {
  const std::vector<std::string> channels{"one"};
  Listener listener{options(server().url()), channels};
  listener.wake();
  EXPECT_TRUE(listener.wait(Deadline::max()).empty());
  std::thread other{[&] { listener.wake(); }};
  EXPECT_TRUE(listener.wait(Deadline::max()).empty());
  other.join();
}

TEST_F(PostgresListener, WaitsNoLongerThanTold) {
  const std::vector<std::string> channels{"one"};
  Listener listener{options(server().url()), channels};
  const Deadline until = shortly();
  EXPECT_TRUE(listener.wait(until).empty());
  EXPECT_GE(std::chrono::steady_clock::now(), until);
}

TEST_F(PostgresListener, SaysThatItIsCutOff) {
  const std::vector<std::string> channels{"one"};
  Listener listener{options(server().url()), channels};
  static constexpr Sql kill{
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidemill listener'"};
  direct->query(kill);
  EXPECT_TRUE(failure_of([&] { listener.wait(soon()); }).lost());
  EXPECT_TRUE(failure_of([&] { listener.wait(soon()); }).lost());
  Listener another{options(server().url()), channels};
  direct->execute("NOTIFY one, 'again'");
  EXPECT_EQ(next(another), "one=again;");
}

}  // namespace tidemill::postgres::tests
