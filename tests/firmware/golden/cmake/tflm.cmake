# Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
# TFLite Micro as the library `tflm`.
#
# TFLite Micro has no CMake files. Its create_tflm_tree.py is what it offers to other build systems (docs/
# new_platform_support.md there): it makes a folder of just the sources of one configuration, and downloads what belongs
# to it (flatbuffers, gemmlowp, ruy, CMSIS-NN, the Ethos-U core driver) at the revisions that this TFLite Micro pins.
include(FetchContent)

set(TFLM_DIR "" CACHE PATH "a checkout of tflite-micro, or a folder that its create_tflm_tree.py made; empty: fetch it")
set(TFLM_URL "https://github.com/tensorflow/tflite-micro/archive/b75c6ff4e2270047f2b48fa01f833c8101c31f43.zip"
  CACHE STRING "archive that is fetched")
set(TFLM_SHA256 "ac3e675b71c55529a32d19a8cf0912413c1d1b9a551512e2665883a1666fb0ba" CACHE STRING "of the archive; empty: not checked")
option(TFLM_CMSIS_NN "kernels of CMSIS-NN, for Cortex-M" ${CMAKE_CROSSCOMPILING})
set(TFLM_ETHOS_U "" CACHE STRING "u55, u65 or u85: with the NPU's driver; empty: without")
set(TFLM_MAKE_OPTIONS "" CACHE STRING "more for TFLite Micro's Makefile, such as CMSIS_NN_PATH=... ETHOSU_DRIVER_PATH=...")

if(NOT TFLM_DIR)
  if(TFLM_SHA256)
    set(tflm_hash URL_HASH SHA256=${TFLM_SHA256})
  endif()
  if(POLICY CMP0135)
    cmake_policy(SET CMP0135 NEW)  # files are as old as their unpacking: another archive is built again
  endif()
  FetchContent_Declare(tflite_micro URL ${TFLM_URL} ${tflm_hash})
  FetchContent_MakeAvailable(tflite_micro)
  set(tflm_checkout ${tflite_micro_SOURCE_DIR})
else()
  get_filename_component(tflm_checkout ${TFLM_DIR} ABSOLUTE)
endif()

set(tflm_generator tensorflow/lite/micro/tools/project_generation/create_tflm_tree.py)
if(EXISTS ${tflm_checkout}/${tflm_generator})
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  set(tflm_options ${TFLM_MAKE_OPTIONS})
  if(TFLM_CMSIS_NN)
    list(APPEND tflm_options TARGET=cortex_m_generic TARGET_ARCH=project_generation OPTIMIZED_KERNEL_DIR=cmsis_nn)
  endif()
  if(TFLM_ETHOS_U)
    if(NOT TFLM_CMSIS_NN)
      message(FATAL_ERROR "TFLM_ETHOS_U needs TFLM_CMSIS_NN: TFLite Micro builds its driver for Cortex-M only.")
    endif()
    list(APPEND tflm_options CO_PROCESSOR=ethos_u ETHOSU_ARCH=${TFLM_ETHOS_U})
  endif()
  string(REPLACE ";" " " tflm_options "${tflm_options}")
  string(SHA256 tflm_key "${tflm_checkout} ${tflm_options}")
  string(SUBSTRING ${tflm_key} 0 12 tflm_key)
  set(tflm_tree ${CMAKE_CURRENT_BINARY_DIR}/tflm-${tflm_key})
  if(NOT EXISTS ${tflm_tree}.done)
    file(REMOVE_RECURSE ${tflm_tree})
    message(STATUS "TFLite Micro: a tree with ${tflm_options}")
    execute_process(
      COMMAND ${Python3_EXECUTABLE} ${tflm_generator} --makefile_options=${tflm_options} ${tflm_tree}
      WORKING_DIRECTORY ${tflm_checkout}
      RESULT_VARIABLE tflm_status)
    if(NOT tflm_status EQUAL 0)
      message(FATAL_ERROR "create_tflm_tree.py failed: it needs make, git, wget and unzip, and the network. Or give "
        "-DTFLM_DIR= a folder that it made elsewhere.")
    endif()
    file(TOUCH ${tflm_tree}.done)
  endif()
elseif(EXISTS ${tflm_checkout}/tensorflow/lite/micro/micro_interpreter.h)
  set(tflm_tree ${tflm_checkout})
else()
  message(FATAL_ERROR "${tflm_checkout} is neither a checkout of tflite-micro nor a folder of its create_tflm_tree.py.")
endif()

file(GLOB_RECURSE tflm_sources CONFIGURE_DEPENDS
  ${tflm_tree}/tensorflow/*.cc ${tflm_tree}/tensorflow/*.c ${tflm_tree}/signal/*.cc
  ${tflm_tree}/third_party/*.cc ${tflm_tree}/third_party/*.c)
list(FILTER tflm_sources EXCLUDE REGEX "/third_party/kissfft/")  # included by sources of signal/
add_library(tflm STATIC ${tflm_sources})
target_compile_features(tflm PUBLIC cxx_std_17)
# PUBLIC: it changes the layout of TfLiteTensor, so every user must have the same
target_compile_definitions(tflm PUBLIC TF_LITE_STATIC_MEMORY TF_LITE_DISABLE_X86_NEON)
if(TFLM_CMSIS_NN)
  target_compile_definitions(tflm PRIVATE CMSIS_NN)
endif()
if(TFLM_ETHOS_U)
  string(TOUPPER ${TFLM_ETHOS_U} tflm_npu)
  string(REPLACE "U" "ETHOSU" tflm_npu ${tflm_npu})
  target_compile_definitions(tflm PRIVATE ETHOS_U ${tflm_npu} ETHOSU_ARCH=${TFLM_ETHOS_U}
    ETHOSU_LOG_SEVERITY=ETHOSU_LOG_WARN)
endif()
target_compile_options(tflm PRIVATE -ffunction-sections -fdata-sections $<$<COMPILE_LANGUAGE:CXX>:-fno-rtti>
  $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions> $<$<COMPILE_LANGUAGE:CXX>:-fno-threadsafe-statics>)
set(tflm_third_party ${tflm_tree}/third_party)
target_include_directories(tflm SYSTEM PUBLIC
  ${tflm_tree} ${tflm_third_party}/flatbuffers/include ${tflm_third_party}/gemmlowp ${tflm_third_party}/ruy
  ${tflm_third_party}/kissfft ${tflm_third_party}/cmsis ${tflm_third_party}/cmsis/CMSIS/Core/Include
  ${tflm_third_party}/cmsis_nn ${tflm_third_party}/cmsis_nn/Include
  ${tflm_third_party}/ethos_u_core_driver/include)
