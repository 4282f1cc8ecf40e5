package io.blockwharf.api.block;

import org.osgi.service.component.annotations.ComponentPropertyType;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * Names the driver that a {@link BlockDriver} component implements: service property {@code
 * block.driver.name}.
 */
@ComponentPropertyType
@Retention(RetentionPolicy.CLASS)
@Target(ElementType.TYPE)
public @interface BlockDriverName {
    /** The name, as in {@code driver=}. */
    String value();
}
