// A node of the service "svc", for tests that kill, pause and stop it. What its handlers do goes into the
// table `effects`, on a connection of their own.
//
//   pq_node URL NAME [retries] [mark]
//
// Params: "ok"; "retry", which fails for ever; "again:N", which goes on until it has begun N times;
// "slow:MS".
#include <poll.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <fmt/format.h>

#include <tidemill/persistent_queue.hpp>

using namespace std::chrono_literals;
namespace pq = tidemill::persistent_queue;

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string url = argv[1];
  const std::string name = argv[2];
  const int retries = argc > 3 ? std::atoi(argv[3]) : 0;
  const bool mark = argc > 4 && std::string{argv[4]} == "mark";
  const tidemill::SqlHandle effects = tidemill::SqlHandle::mysql(url);
  const auto note = [&](const pq::Job& job, const char* what) {
    effects.execute(
        fmt::format("INSERT INTO effects (job_id, node, what, at) VALUES ({}, '{}', '{}', "
                    "UNIX_TIMESTAMP())",
                    job.id, name, what));
  };

  pq::QueueConfig config;
  config.service_name = "svc";
  config.job_type = 7;
  config.db = tidemill::SqlHandle::mysql(url);
  config.worker_pool_capacity = 4;
  config.need_retry = retries > 0;
  config.max_retries = retries;
  config.wait_time = 1s;
  config.table.lease_db = tidemill::SqlHandle::mysql(url);
  config.table.lease = 4s;
  config.table.renew_interval = 700ms;
  config.table.safety_margin = 500ms;
  config.table.contest_interval = 100ms;
  config.table.poll_interval = 100ms;
  config.table.takeover_grace = 0s;
  config.table.claim_mode = mark ? pq::ClaimMode::mark : pq::ClaimMode::none;
  config.handler = [&](pq::Job& job) {
    note(job, "begin");
    job.status = pq::Status::success;
    if (job.params == "retry") job.status = pq::Status::retry;
    if (job.params.starts_with("slow:")) poll(nullptr, 0, std::stoi(job.params.substr(5)));
    if (job.params.starts_with("again:")) {
      const auto begun = effects.query(
          fmt::format("SELECT COUNT(*) FROM effects WHERE what = 'begin' AND job_id = {}", job.id));
      if (std::stoi(begun.at(0).at(0).value_or("0")) < std::stoi(job.params.substr(6)))
        job.status = pq::Status::again;
    }
    note(job, "end");
  };
  try {
    pq::init({config})->run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
