#pragma once

/// All of Tidemill. Larger programs include what they use.
#include <tidemill/client.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/json.hpp>
#include <tidemill/lock.hpp>
#include <tidemill/periodic.hpp>
#include <tidemill/schedule.hpp>
#include <tidemill/store.hpp>
#include <tidemill/version.hpp>
#include <tidemill/worker.hpp>
