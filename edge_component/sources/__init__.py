"""Where readings come from. Each source gives `LocalReading`s; more kinds (OPC UA, Modbus) are files beside this."""
