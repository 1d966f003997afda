// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * A thermal zone and the cooling of a CPU clock whose values are set from outside: Debian's kernel is built without
 * CONFIG_THERMAL_EMULATION. /sys/module/heat/parameters/millidegrees, /sys/class/thermal/cooling_device*.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/thermal.h>

static int millidegrees = 45000;
module_param(millidegrees, int, 0644);

static unsigned long level;
static struct thermal_zone_device *zone;
static struct thermal_cooling_device *cooling;

static int get_temp(struct thermal_zone_device *asked, int *temperature)
{
	*temperature = millidegrees;
	return 0;
}

static struct thermal_zone_device_ops zone_ops = { .get_temp = get_temp };

static int get_max_state(struct thermal_cooling_device *asked, unsigned long *state)
{
	*state = 10;
	return 0;
}

static int get_cur_state(struct thermal_cooling_device *asked, unsigned long *state)
{
	*state = level;
	return 0;
}

static int set_cur_state(struct thermal_cooling_device *asked, unsigned long state)
{
	level = state;
	return 0;
}

static const struct thermal_cooling_device_ops cooling_ops = {
	.get_max_state = get_max_state,
	.get_cur_state = get_cur_state,
	.set_cur_state = set_cur_state,
};

static int __init heat_init(void)
{
	zone = thermal_zone_device_register("cpu-thermal", 0, 0, NULL, &zone_ops, NULL, 0, 0);
	if (IS_ERR(zone))
		return PTR_ERR(zone);
	cooling = thermal_cooling_device_register("cpufreq-cpu0", NULL, &cooling_ops);
	if (IS_ERR(cooling)) {
		thermal_zone_device_unregister(zone);
		return PTR_ERR(cooling);
	}
	return thermal_zone_device_enable(zone);
}

static void __exit heat_exit(void)
{
	thermal_cooling_device_unregister(cooling);
	thermal_zone_device_unregister(zone);
}

module_init(heat_init);
module_exit(heat_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A temperature that is set from outside");
