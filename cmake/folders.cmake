# A new file needs no edit anywhere: each folder is globbed.

# Until all folders have sources, those without are skipped. Gives the targets named that exist.
function(tidemill_existing result)
  set(found)
  foreach(target ${ARGN})
    if(TARGET ${target} OR NOT target MATCHES "^tidemill_")
      list(APPEND found ${target})
    endif()
  endforeach()
  set(${result} ${found} PARENT_SCOPE)
endfunction()

# tidemill_library(NAME FOLDER [USES layer...] [NEEDS third-party...]): the library tidemill_NAME of all sources of a
# folder. Those who use it see the public headers and its own layers; what it needs reaches their link line only.
function(tidemill_library name folder)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "USES;NEEDS")
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/main.cpp)
  if(NOT sources)
    return()
  endif()
  set(target tidemill_${name})
  tidemill_existing(uses ${arg_USES})
  add_library(${target} STATIC ${sources})
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE src)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(${target}
    PUBLIC ${uses} PRIVATE fmt::fmt ${arg_NEEDS} $<BUILD_INTERFACE:tidemill_warnings>)
  tidemill_precompile(${target})

  # A static library may leave anything undefined for others to fill in. So all of it is linked into a program that
  # does nothing, with exactly the layers above: a call to any other layer fails here, by name.
  if(TIDEMILL_TESTS AND NOT TIDEMILL_SANITIZE)
    add_executable(${target}_alone ${PROJECT_SOURCE_DIR}/cmake/alone.cpp)
    target_link_libraries(${target}_alone PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,${target}>)
    set_target_properties(${target}_alone PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/alone)
  endif()
endfunction()

# Shares one precompiled header among all of src/. A target of its own carries it, so that using it makes no layer
# depend on another.
function(tidemill_precompile target)
  if(NOT TIDEMILL_PCH)
    return()
  endif()
  if(NOT TARGET tidemill_pch)
    add_library(tidemill_pch OBJECT ${PROJECT_SOURCE_DIR}/cmake/pch.cpp)
    target_link_libraries(tidemill_pch PRIVATE fmt::fmt tidemill_warnings)
    target_precompile_headers(tidemill_pch PRIVATE
      <algorithm> <array> <atomic> <charconv> <chrono> <condition_variable> <cstdint> <deque> <exception> <functional>
      <map> <memory> <mutex> <optional> <set> <span> <stop_token> <string> <string_view> <thread> <tuple>
      <unordered_map> <utility> <variant> <vector> <fmt/format.h>)
  endif()
  target_precompile_headers(${target} REUSE_FROM tidemill_pch)
endfunction()

# tidemill_program(NAME FOLDER SOURCES source... LINKS target...): a program that lies below the build directory where
# its sources lie below this one.
function(tidemill_program name folder)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "SOURCES;LINKS")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINKS} tidemill_warnings)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/${folder})
endfunction()

# Each folder below is a program example_FOLDER, at the top of the build directory, where people find it. They see what
# users see; some open the SQLite file beside Tidemill, or read files of periodic tasks.
function(tidemill_examples folder)
  file(GLOB places CONFIGURE_DEPENDS ${folder}/*/main.cpp)
  foreach(place ${places})
    cmake_path(GET place PARENT_PATH directory)
    cmake_path(GET directory FILENAME name)
    file(GLOB sources CONFIGURE_DEPENDS ${directory}/*.cpp)
    tidemill_program(example_${name} . SOURCES ${sources} LINKS tidemill tidemill::yaml SQLite::SQLite3)
    set_property(GLOBAL APPEND PROPERTY TIDEMILL_EXAMPLES example_${name})
  endforeach()
endfunction()

# The code of the documentation: each file is a program that must compile and link.
function(tidemill_snippets folder)
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  foreach(source ${sources})
    cmake_path(GET source STEM name)
    tidemill_program(snippet_${name} ${folder} SOURCES ${source}
      LINKS tidemill tidemill::yaml PkgConfig::mariadb PostgreSQL::PostgreSQL SQLite::SQLite3)
  endforeach()
endfunction()
